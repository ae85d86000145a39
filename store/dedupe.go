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
// identify.
type dedupe struct {
	seeds      [2]maphash.Seed
	identities recent[identity, struct{}]
	weak       recent[scan.WeakKey, time.Time]
	weakSince  time.Time // when the younger generation of weak keys began
}

// recent is a memory of two generations: the elder is forgotten for a new one.
type recent[K comparable, V any] struct{ young, old map[K]V }

func (r *recent[K, V]) get(k K) (v V, ok bool) {
	if v, ok = r.young[k]; !ok {
		v, ok = r.old[k]
	}
	return v, ok
}

func (r *recent[K, V]) age() { r.young, r.old = map[K]V{}, r.young }

// forget takes back what a commit that failed added.
func (r *recent[K, V]) forget(k K) {
	delete(r.young, k)
	delete(r.old, k)
}

func newDedupe() *dedupe {
	d := &dedupe{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	d.identities.age()
	d.weak.age()
	return d
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
	_, ok := d.identities.get(id)
	return ok
}

func (d *dedupe) add(id identity) {
	if len(d.identities.young) >= rememberIdentities {
		d.identities.age()
	}
	d.identities.young[id] = struct{}{}
}

// hasWeak reports whether the weak key was stored within weakWindow before now.
func (d *dedupe) hasWeak(k scan.WeakKey, now time.Time) bool {
	at, ok := d.weak.get(k)
	return ok && now.Sub(at) <= weakWindow
}

func (d *dedupe) addWeak(k scan.WeakKey, now time.Time) {
	if since := now.Sub(d.weakSince); since > weakWindow || since < 0 || len(d.weak.young) >= rememberWeak {
		d.weak.age()
		d.weakSince = now
	}
	d.weak.young[k] = now
}
