package index

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"scanrelay/store/event"
)

const (
	// longWait is from what backoff on attempts are written: shorter ones a
	// restart may forget. Then again each time their number or the backoff has
	// doubled, so that an event costs a few small notes, however long it is tried,
	// or given back untried.
	longWait = 30 * time.Second
	// attemptsChunk is how many are written in one commit, at most.
	attemptsChunk = 1000
)

// attempt is what was learned of a pending event so far.
type attempt struct {
	at        time.Time     // not to be leased before; zero: at once
	delay     time.Duration // how long it was to wait when that was said
	attempts  int
	saved     int           // attempts that are on disk, or in unsaved
	savedFor  time.Duration // the delay when they were put there
	last      event.Reply
	retriedAt time.Time   // when it was put back as a dead letter
	later     event.Later // what was stored after it by then
}

// keepAttempt keeps an event's attempts and when it is due, in memory, and has them
// written where a restart must not forget them.
func (m *memory) keepAttempt(r event.Retry) {
	var at time.Time
	delay := r.At.Sub(m.now)
	if _, noted := m.attempts[r.Seq]; !noted && delay <= 0 && r.Attempts == 0 && r.Last == (event.Reply{}) {
		return // there is nothing to remember
	}
	if delay > 0 {
		at = r.At
		heap.Push(&m.timers, timer{at, r.Seq})
	}
	m.learn(r.Seq, func(a *attempt) {
		a.at, a.delay, a.attempts, a.last = at, max(0, delay), r.Attempts, r.Last
		if delay >= longWait && (a.attempts >= 2*max(1, a.saved) || delay >= 2*a.savedFor) {
			a.saved, a.savedFor = a.attempts, delay
			m.unsaved = append(m.unsaved, r.Seq)
		}
	})
}

// takeUnsaved takes attempts that are to be written with the next commit.
func (m *memory) takeUnsaved(limit int, weight func(*event.Note) int) (notes []event.Note) {
	n := 0
	for bytes := 0; n < len(m.unsaved) && len(notes) < attemptsChunk; n++ {
		a, ok := m.attempts[m.unsaved[n]]
		if !ok {
			continue
		}
		one := a.note(m.unsaved[n], m.now)
		if bytes += weight(&one); bytes > limit && len(notes) > 0 {
			break
		}
		notes = append(notes, one)
	}
	if m.unsaved = m.unsaved[n:]; len(m.unsaved) == 0 {
		m.unsaved = nil
	}
	return notes
}

// unsaveAll has everything written that a clean stop should not forget.
func (m *memory) unsaveAll() {
	for seq, a := range m.attempts {
		if a.attempts > a.saved || a.savedFor == 0 && a.at.After(m.now) {
			m.unsaved = append(m.unsaved, seq)
		}
	}
}

func (a *attempt) note(seq uint64, now time.Time) event.Note {
	return event.Note{Kind: event.NoteAttempt, Seq: seq, At: now, Delay: a.delay - a.since(now), Attempts: a.attempts, Last: a.last}
}

// since is how much of the delay is over.
func (a *attempt) since(now time.Time) time.Duration {
	return min(a.delay, max(0, now.Sub(a.at.Add(-a.delay))))
}

// recall takes a note of attempts back at a start. What was due meanwhile, or is
// by a clock that was set since, is due at a random moment within the time that
// it was to wait: a restart must not bring everything at once.
func (m *memory) recall(n *event.Note) {
	at := n.At.Add(n.Delay)
	if left := at.Sub(m.now); n.Delay > 0 && (left <= 0 || left > n.Delay) {
		at = m.now.Add(rand.N(n.Delay))
	}
	m.learn(n.Seq, func(a *attempt) {
		a.attempts, a.saved, a.last = n.Attempts, n.Attempts, n.Last
		if n.Delay > 0 {
			a.at, a.delay, a.savedFor = at, n.Delay, n.Delay
			heap.Push(&m.timers, timer{at, n.Seq})
		}
	})
}
