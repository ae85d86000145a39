package uplink

import (
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

const (
	// answerLife is how long an answer of the centre may be used; an older one
	// is asked again before the push (design.md section 2, Lateness).
	answerLife = 60 * time.Second
	// maxKnown bounds the waybills in memory, about one kilobyte each; of the
	// least recently used ones the centre is asked again.
	maxKnown = 4096
	// maxDoubts bounds the events remembered as mismatched.
	maxDoubts = 4096
)

// advice is what the answers in memory say about a record that wants a push.
type advice int

const (
	adviseAsk    advice = iota // nothing fresh is known
	adviseResync               // WeChat and the centre disagreed: send its nodes again
	advisePush                 // taken, with data
)

// answers holds what the centre said, by waybill. It is safe for concurrent use.
type answers struct {
	mu     sync.Mutex
	known  *recent[scan.WaybillID, *known]
	doubts *recent[uint64, doubt] // by sequence number
	moment uint64                 // counts what happened: tells what came after what
}

type known struct {
	data     scan.Waybill
	taken    []stamp // events answered taken lately
	resynced uint64  // the moment when all its nodes were last acknowledged anew
}

type stamp struct {
	seq uint64
	at  time.Time
}

// doubt counts how often WeChat's reverse lookup disagreed about an event.
type doubt struct {
	count int
	last  uint64 // the moment of the last time
}

func newAnswers() *answers {
	return &answers{
		known:  newRecent[scan.WaybillID, *known](maxKnown),
		doubts: newRecent[uint64, doubt](maxDoubts),
	}
}

// tell keeps waybill data that came with an answer.
func (a *answers) tell(id scan.WaybillID, data scan.Waybill) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, ok := a.known.get(id); ok {
		k.data = data
		return
	}
	a.known.put(id, &known{data: data})
}

// taken keeps that the centre answered an event with taken just now. It reports
// whether the waybill's data is known as well.
func (a *answers) taken(id scan.WaybillID, seq uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.known.get(id)
	if !ok {
		return false
	}
	now := time.Now()
	kept := k.taken[:0]
	for _, s := range k.taken {
		if s.seq != seq && now.Sub(s.at) < answerLife {
			kept = append(kept, s)
		}
	}
	k.taken = append(kept, stamp{seq, now})
	return true
}

// resynced keeps that the centre acknowledged the waybill's nodes anew.
func (a *answers) resynced(id scan.WaybillID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, ok := a.known.get(id); ok {
		a.moment++
		k.resynced = a.moment
	}
}

// about says what to do about a record, and with which waybill data.
func (a *answers) about(r store.Record) (scan.Waybill, advice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.known.get(r.Event.Waybill)
	if wantsResync(r.Last) {
		d, _ := a.doubts.get(r.ID.Seq)
		if !ok || k.resynced <= d.last {
			return scan.Waybill{}, adviseResync
		}
	}
	if !ok {
		return scan.Waybill{}, adviseAsk
	}
	for _, s := range k.taken {
		if s.seq == r.ID.Seq && time.Since(s.at) < answerLife {
			return k.data, advisePush
		}
	}
	return scan.Waybill{}, adviseAsk
}

// disagreed counts a reverse lookup gone wrong and returns how many it were.
func (a *answers) disagreed(seq uint64) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, _ := a.doubts.get(seq)
	a.moment++
	d.count++
	d.last = a.moment
	a.doubts.put(seq, d)
	return d.count
}

// forget drops what is kept about one event that ended.
func (a *answers) forget(id scan.WaybillID, seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.doubts.drop(seq)
	k, ok := a.known.get(id)
	if !ok {
		return
	}
	for i, s := range k.taken {
		if s.seq == seq {
			k.taken = append(k.taken[:i], k.taken[i+1:]...)
			return
		}
	}
}

// clear forgets all answers: the centre lost what they were about.
func (a *answers) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.clear()
}
