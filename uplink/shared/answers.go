package shared

import (
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
)

// AnswerLife is how long an answer of the centre may be used; an older one is
// asked again before the push, because another depot may have been faster.
const AnswerLife = 60 * time.Second

// Bounds of what is kept in memory; of the least recently used the centre is
// asked again.
const (
	maxKnown      = 16384    // waybills, 300 bytes each: 5 MiB, or twice that
	maxTaken      = 2 * 4096 // events answered
	maxMismatched = 4096     // events whose mismatches are counted
)

// Advice is what the answers in memory say about a record that wants a push.
type Advice int

// What to do with a record.
const (
	Ask    Advice = iota // nothing fresh is known
	Resync               // WeChat and the centre disagreed: send its nodes again
	Push                 // taken, with data
)

// Answers holds what the centre said of waybills, and of events by their
// sequence numbers.
type Answers struct {
	mu         sync.Mutex
	known      *recent[scan.WaybillID, known]
	taken      *recent[uint64, time.Time] // when an event was answered taken
	mismatched *recent[uint64, int]       // how often WeChat disagreed about one
}

type known struct {
	data     packed
	resynced bool // all its nodes were acknowledged anew since the last mismatch
}

// NewAnswers makes one that knows nothing.
func NewAnswers() *Answers {
	return &Answers{
		known: newRecent[scan.WaybillID, known](maxKnown), taken: newRecent[uint64, time.Time](maxTaken),
		mismatched: newRecent[uint64, int](maxMismatched),
	}
}

// Tell keeps waybill data that came with an answer.
func (a *Answers) Tell(id scan.WaybillID, data scan.Waybill) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, _ := a.known.get(id)
	k.data = pack(&data)
	a.known.put(id, k)
}

// Taken keeps that the centre answered an event with taken just now. It reports
// whether the waybill's data is known as well.
func (a *Answers) Taken(id scan.WaybillID, seq uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken.put(seq, time.Now())
	_, ok := a.known.get(id)
	return ok
}

// Resynced keeps that the centre acknowledged the waybill's nodes anew.
func (a *Answers) Resynced(id scan.WaybillID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, ok := a.known.get(id); ok {
		k.resynced = true
		a.known.put(id, k)
	}
}

// About says what to do about a record, and with which waybill data.
func (a *Answers) About(r event.Record) (scan.Waybill, Advice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.known.get(r.Event.Waybill)
	if policy.Mismatch(r.Last) && (!ok || !k.resynced) {
		return scan.Waybill{}, Resync
	}
	if at, taken := a.taken.get(r.ID.Seq); ok && taken && time.Since(at) < AnswerLife {
		return k.data.unpack(), Push
	}
	return scan.Waybill{}, Ask
}

// Mismatches is how often WeChat's reverse lookup disagreed about an event.
func (a *Answers) Mismatches(seq uint64) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, _ := a.mismatched.get(seq)
	return n
}

// Mismatched counts once more, and asks for a re-sync of the waybill.
func (a *Answers) Mismatched(id scan.WaybillID, seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, ok := a.known.get(id); ok {
		k.resynced = false
		a.known.put(id, k)
	}
	n, _ := a.mismatched.get(seq)
	a.mismatched.put(seq, n+1)
}

// Forget drops what is kept about one event that ended.
func (a *Answers) Forget(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mismatched.drop(seq)
	a.taken.drop(seq)
}

// Clear forgets all answers: the centre lost what they were about.
func (a *Answers) Clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.clear()
	a.taken.clear()
}
