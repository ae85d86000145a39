package shared

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

// PhoneKey stands for a phone: a keyed hash with a key that lives as long as
// the process. A bare hash of eleven digits is guessed in seconds.
type PhoneKey [16]byte

// Binding is whether a phone is bound in WeChat, and since when we know.
type Binding struct {
	Exist bool
	At    time.Time
}

// Bindings holds what is known of phones and what the centre has not heard yet.
type Bindings struct {
	bound, unbound time.Duration // how long each answer is good
	secret         []byte

	mu     sync.Mutex
	known  *recent[PhoneKey, Binding]
	report map[scan.WaybillID]Binding
}

// NewBindings makes one in which an answer is good for so long.
func NewBindings(bound, unbound time.Duration) *Bindings {
	b := &Bindings{
		bound: bound, unbound: unbound, secret: make([]byte, 32),
		known: newRecent[PhoneKey, Binding](maxBindings), report: make(map[scan.WaybillID]Binding),
	}
	rand.Read(b.secret) // never fails
	return b
}

// Key is the phone as it is kept here.
func (b *Bindings) Key(p scan.Phone) (k PhoneKey) {
	h := hmac.New(sha256.New, b.secret)
	h.Write([]byte(p.Reveal()))
	copy(k[:], h.Sum(nil))
	return k
}

func (b *Bindings) life(exist bool) time.Duration {
	if exist {
		return b.bound
	}
	return b.unbound
}

// Get returns what is known of the phone and still good.
func (b *Bindings) Get(k PhoneKey) (exist, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.known.get(k)
	if !ok || time.Since(v.At) >= b.life(v.Exist) {
		return false, false
	}
	return v.Exist, true
}

// Told keeps what the centre knows, unless we know something newer. That a phone
// is bound spares a call, and if it is wrong the push says so. That it is not, which
// another depot said, would end an event without any call: it is a hint to be
// confirmed, so that what we knew counts no more and WeChat is asked.
func (b *Bindings) Told(p scan.Phone, exist bool, age time.Duration) {
	if age < 0 || age >= b.life(exist) {
		return
	}
	k, at := b.Key(p), time.Now().Add(-age)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch v, ok := b.known.get(k); {
	case ok && v.At.After(at):
	case exist:
		b.known.put(k, Binding{exist, at})
	case ok && v.Exist:
		b.known.drop(k)
	}
}

// Learned keeps what WeChat just said. What is news to the centre is reported
// to it: an answer that differs from what was known, or renews one past half of
// its life.
func (b *Bindings) Learned(k PhoneKey, id scan.WaybillID, exist bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.known.get(k)
	if ok && v.Exist == exist && now.Sub(v.At) < b.life(exist)/2 {
		return // the fleet knows; a renewal per push would cost more than it saves
	}
	b.known.put(k, Binding{exist, now})
	if len(b.report) < 2*syncapi.MaxBindings {
		b.report[id] = Binding{exist, now}
	}
}

// News takes up to n reports for the next request.
func (b *Bindings) News(n int) map[scan.WaybillID]Binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.report) == 0 {
		return nil
	}
	taken := make(map[scan.WaybillID]Binding)
	for id, v := range b.report {
		if len(taken) == n {
			break
		}
		taken[id] = v
		delete(b.report, id)
	}
	return taken
}

// Unheard puts reports back that did not reach the centre.
func (b *Bindings) Unheard(news map[scan.WaybillID]Binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, v := range news {
		if _, newer := b.report[id]; !newer && len(b.report) < 2*syncapi.MaxBindings {
			b.report[id] = v
		}
	}
}
