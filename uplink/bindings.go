package uplink

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/syncapi"
)

// maxBindings bounds the phones in memory, about a hundred bytes each.
const maxBindings = 16384

// phoneKey stands for a phone: a keyed hash with a key that lives as long as
// the process. A bare hash of eleven digits is guessed in seconds.
type phoneKey [16]byte

// binding is whether a phone is bound in WeChat, and since when we know.
type binding struct {
	exist bool
	at    time.Time
}

// bindings holds what is known of phones and what the centre has not heard yet.
// It is safe for concurrent use.
type bindings struct {
	bound, unbound time.Duration // how long each answer is good
	secret         []byte

	mu     sync.Mutex
	known  *recent[phoneKey, binding]
	report map[scan.WaybillID]binding
}

func newBindings(bound, unbound time.Duration) *bindings {
	b := &bindings{
		bound: bound, unbound: unbound, secret: make([]byte, 32),
		known: newRecent[phoneKey, binding](maxBindings), report: make(map[scan.WaybillID]binding),
	}
	rand.Read(b.secret) // never fails
	return b
}

func (b *bindings) key(p scan.Phone) (k phoneKey) {
	h := hmac.New(sha256.New, b.secret)
	h.Write([]byte(p.Reveal()))
	copy(k[:], h.Sum(nil))
	return k
}

func (b *bindings) life(exist bool) time.Duration {
	if exist {
		return b.bound
	}
	return b.unbound
}

// get returns what is known of the phone and still good.
func (b *bindings) get(k phoneKey) (exist, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.known.get(k)
	if !ok || time.Since(v.at) >= b.life(v.exist) {
		return false, false
	}
	return v.exist, true
}

// told keeps what the centre knows, unless we know something newer.
func (b *bindings) told(p scan.Phone, exist bool, age time.Duration) {
	if age < 0 || age >= b.life(exist) {
		return
	}
	k, at := b.key(p), time.Now().Add(-age)
	b.mu.Lock()
	defer b.mu.Unlock()
	if v, ok := b.known.get(k); ok && v.at.After(at) {
		return
	}
	b.known.put(k, binding{exist, at})
}

// learned keeps what WeChat just said. What is news to the centre is reported
// to it: an answer that differs from what was known, or renews one past half of
// its life.
func (b *bindings) learned(k phoneKey, id scan.WaybillID, exist bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.known.get(k)
	if ok && v.exist == exist && now.Sub(v.at) < b.life(exist)/2 {
		return // the fleet knows; a renewal per push would cost more than it saves
	}
	b.known.put(k, binding{exist, now})
	if len(b.report) < 2*syncapi.MaxBindings {
		b.report[id] = binding{exist, now}
	}
}

// news takes up to n reports for the next request.
func (b *bindings) news(n int) map[scan.WaybillID]binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.report) == 0 {
		return nil
	}
	taken := make(map[scan.WaybillID]binding)
	for id, v := range b.report {
		if len(taken) == n {
			break
		}
		taken[id] = v
		delete(b.report, id)
	}
	return taken
}

// unheard puts reports back that did not reach the centre.
func (b *bindings) unheard(news map[scan.WaybillID]binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, v := range news {
		if _, newer := b.report[id]; !newer && len(b.report) < 2*syncapi.MaxBindings {
			b.report[id] = v
		}
	}
}
