package store

import (
	"hash/maphash"
	"time"

	"scanrelay/agent/scan"
)

const (
	// rememberIdentities is how many of the latest identities are known for
	// certain; up to twice as many are in memory. What is older is found by
	// the centre.
	rememberIdentities = 1 << 15
	// weakWindow is how long an equal weak key with the DUP flag is the same
	// event.
	weakWindow = 10 * time.Minute
	// rememberWeak bounds the weak keys likewise.
	rememberWeak = 1 << 15
)

// identity is a keyed hash of a waybill and an event id. At 128 bits chance
// never makes two of them equal.
type identity [2]uint64

// dedupe knows what was stored lately. The committer alone uses it, but for
// identify. Each memory has two generations: when the younger is full the
// elder is forgotten.
type dedupe struct {
	seeds      [2]maphash.Seed
	young, old map[identity]struct{}
	weak       map[scan.WeakKey]time.Time
	oldWeak    map[scan.WeakKey]time.Time
	weakSince  time.Time // when the younger generation of weak keys began
}

func newDedupe() *dedupe {
	return &dedupe{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		young: map[identity]struct{}{}, weak: map[scan.WeakKey]time.Time{},
	}
}

// identify hashes an identity; any goroutine may call it.
func (d *dedupe) identify(waybill, eventID []byte) (id identity) {
	for i, seed := range d.seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		maphash.WriteComparable(&h, len(waybill)) // so that no two pairs run together
		h.Write(waybill)                          // never fails
		h.Write(eventID)
		id[i] = h.Sum64()
	}
	return id
}

// has reports whether the identity was stored lately.
func (d *dedupe) has(id identity) bool {
	_, young := d.young[id]
	_, old := d.old[id]
	return young || old
}

func (d *dedupe) add(id identity) {
	if len(d.young) >= rememberIdentities {
		d.young, d.old = make(map[identity]struct{}, rememberIdentities), d.young
	}
	d.young[id] = struct{}{}
}

// forget takes back an add whose commit failed.
func (d *dedupe) forget(id identity) {
	delete(d.young, id)
	delete(d.old, id)
}

// hasWeak reports whether the weak key was stored within weakWindow before now.
func (d *dedupe) hasWeak(k scan.WeakKey, now time.Time) bool {
	at, ok := d.weak[k]
	if !ok {
		at, ok = d.oldWeak[k]
	}
	return ok && now.Sub(at) <= weakWindow
}

func (d *dedupe) addWeak(k scan.WeakKey, now time.Time) {
	if since := now.Sub(d.weakSince); since > weakWindow || since < 0 || len(d.weak) >= rememberWeak {
		d.weak, d.oldWeak = map[scan.WeakKey]time.Time{}, d.weak
		d.weakSince = now
	}
	d.weak[k] = now
}

func (d *dedupe) forgetWeak(k scan.WeakKey) {
	delete(d.weak, k)
	delete(d.oldWeak, k)
}
