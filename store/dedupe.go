package store

import (
	"hash/maphash"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
)

const (
	// rememberIdentities is how many of the latest identities are known for
	// certain: more than a broker may hold and hand again. They take eight bytes
	// each. What is older is found by the centre.
	rememberIdentities = 1 << 18
	// identityRun is how many of them make a sorted run. Runs are put together up to
	// maxIdentityRun, so that there are few to look into.
	identityRun    = 1 << 14
	maxIdentityRun = 1 << 16
	// weakWindow is how long an equal weak key with the DUP flag is the same
	// event.
	weakWindow = 10 * time.Minute
	// rememberWeak is how many weak keys are known for certain within it.
	rememberWeak = 1 << 15
)

// identity is a keyed hash of a waybill and an event id. Nobody who does not know
// the key can make two of them equal, and chance does once in 10¹³ events or so.
type identity uint64

// dedupe knows what was stored lately. The committer alone uses it, but for
// identify.
type dedupe struct {
	seed  maphash.Seed
	young map[identity]struct{}
	runs  [][]identity // each sorted; the eldest first

	weak, weakOld map[scan.WeakKey]time.Time // two generations: the elder is forgotten for a new one
	weakSince     time.Time                  // when the younger one began
}

func newDedupe() *dedupe {
	return &dedupe{seed: maphash.MakeSeed(), young: map[identity]struct{}{}, weak: map[scan.WeakKey]time.Time{}}
}

// identify hashes an identity; any goroutine may call it.
func (d *dedupe) identify(waybill, eventID []byte) identity {
	var h maphash.Hash
	h.SetSeed(d.seed)
	maphash.WriteComparable(&h, len(waybill)) // so that no two pairs run together
	h.Write(waybill)                          // never fails
	h.Write(eventID)
	return identity(h.Sum64())
}

// has reports whether the identity was stored lately.
func (d *dedupe) has(id identity) bool {
	_, ok := d.young[id]
	for i := len(d.runs) - 1; i >= 0 && !ok; i-- {
		_, ok = slices.BinarySearch(d.runs[i], id)
	}
	return ok
}

// add remembers an identity until forget, or for good once settle was called.
func (d *dedupe) add(id identity) { d.young[id] = struct{}{} }

// forget takes back what a commit that failed added.
func (d *dedupe) forget(id identity) { delete(d.young, id) }

// settle makes room once what was added is on disk.
func (d *dedupe) settle() {
	if len(d.young) < identityRun {
		return
	}
	run := make([]identity, 0, len(d.young))
	for id := range d.young {
		run = append(run, id)
	}
	clear(d.young)
	for n := len(d.runs); n > 0 && len(d.runs[n-1]) <= len(run) && len(d.runs[n-1])+len(run) <= maxIdentityRun; n-- {
		run = append(run, d.runs[n-1]...)
		d.runs = d.runs[:n-1]
	}
	slices.Sort(run)
	d.runs = append(d.runs, run)
	held := 0
	for _, r := range d.runs[1:] {
		held += len(r)
	}
	if held >= rememberIdentities {
		d.runs = slices.Delete(d.runs, 0, 1)
	}
}

// weakAt returns when a weak key was stored last; zero: not lately.
func (d *dedupe) weakAt(k scan.WeakKey) time.Time {
	if at, ok := d.weak[k]; ok {
		return at
	}
	return d.weakOld[k]
}

// hasWeak reports whether the weak key was stored within weakWindow before now.
func (d *dedupe) hasWeak(k scan.WeakKey, now time.Time) bool {
	at := d.weakAt(k)
	return !at.IsZero() && now.Sub(at).Abs() <= weakWindow // the clock may have been set back
}

func (d *dedupe) addWeak(k scan.WeakKey, now time.Time) {
	if since := now.Sub(d.weakSince); since > weakWindow || since < 0 || len(d.weak) >= rememberWeak {
		d.weak, d.weakOld, d.weakSince = map[scan.WeakKey]time.Time{}, d.weak, now
	}
	d.weak[k] = now
}

// undoWeak takes back what a commit that failed added: was is when the key was
// stored before.
func (d *dedupe) undoWeak(k scan.WeakKey, was time.Time) {
	delete(d.weak, k)
	delete(d.weakOld, k)
	if !was.IsZero() {
		d.weak[k] = was
	}
}

// remember takes a stored event into the memory at a start.
func (d *dedupe) remember(h *codec.Head, now time.Time) {
	if !h.IsWeak() {
		d.add(d.identify(h.Waybill, h.EventID))
		d.settle()
		return
	}
	// An unknown clock may have been any time: rather a duplicate found.
	if h.IsClockless() || now.Sub(h.Received) <= weakWindow {
		d.addWeak(h.Weak, now)
	}
}
