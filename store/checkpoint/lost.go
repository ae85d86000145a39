package checkpoint

import (
	"iter"
	"maps"
	"slices"
	"time"

	"scanrelay/store/event"
)

// Lost is an event that had ended, of which damage took the note that said so.
type Lost struct {
	Seq     uint64
	Dead    bool // by what is left it is a dead letter; else it is pending
	Outcome event.State
	At      time.Time // by when it had ended; zero: not known
	Counted bool      // that it died counts already: damage took a copy of the note
}

// Lost gives the events, some at a time, that had ended by what the account knows, and
// by what is left of the same files have not. Of those that stands says is otherwise
// by now it gives none.
func (a *Account) Lost(left *Account, chunk int, stands func(seq uint64) (pending, dead bool)) iter.Seq[[]Lost] {
	return func(yield func([]Lost) bool) {
		var part []Lost
		deaths := a.deaths(left)
		for _, s := range a.Segments {
			if !left.same(s) {
				continue
			}
			for seq, st := range a.in(s) {
				l, lost := left.lost(seq, st)
				if pending, dead := stands(seq); !lost || dead != l.Dead || !pending && !dead {
					continue
				}
				if s.Finished.After(l.At) {
					l.At = s.Finished
				}
				if had := l.Outcome; had == event.Dead || had == event.Discarded && !l.Dead {
					l.Counted = deaths == 0
					deaths -= min(deaths, 1)
				}
				if part = append(part, l); len(part) == chunk {
					if !yield(part) {
						return
					}
					part = nil
				}
			}
		}
		if len(part) > 0 {
			yield(part)
		}
	}
}

// Knows returns what the account knows of a segment: the number of its first event, that
// which follows the last one from it on, and which events were carried into it; zeros:
// nothing.
func (a *Account) Knows(number uint64) (first, next uint64, carried []uint64) {
	for _, s := range a.Segments {
		if s.Number == number {
			first, carried = s.First, slices.Sorted(maps.Keys(s.Arrived))
		}
		if s.Number >= number && first > 0 {
			next = max(next, s.Last+1)
		}
	}
	return first, next, carried
}

// deaths is of how many deaths the notes are lost, and not only copies of them.
func (a *Account) deaths(left *Account) (n uint64) {
	for _, s := range a.Segments {
		for _, t := range left.Segments {
			if had, has := s.Totals.Settled[event.Dead], t.Totals.Settled[event.Dead]; s.Number == t.Number && had > has {
				n += had - has
			}
		}
	}
	return n
}

// same reports whether the file that an account read has the events that s knows
// last, or a part of them: what was stored later under their numbers is another event.
// What is left of a file that is gone was carried out of it.
func (a *Account) same(s *Segment) bool {
	for _, t := range a.Segments {
		if t.Number == s.Number {
			return t.First == s.First && (t.Last != s.Last || t.lastSum == s.lastSum || t.lastSum == 0)
		}
	}
	return len(a.Segments) > 0 && s.Number < a.Segments[0].Number
}

// in gives the events that a segment holds, and how they stand.
func (a *Account) in(s *Segment) iter.Seq2[uint64, event.State] {
	return func(yield func(uint64, event.State) bool) {
		for i, st := range s.stands {
			if !yield(s.First+uint64(i), st) {
				return
			}
		}
		for _, seq := range slices.Sorted(maps.Keys(s.Arrived)) {
			if a.carried[seq] == s && !yield(seq, s.Arrived[seq].stands) {
				return
			}
		}
	}
}

// lost reports whether an event has not ended though it had. A dead letter that was
// put back is pending rightly, also where that was before it died.
func (a *Account) lost(seq uint64, had event.State) (l Lost, lost bool) {
	p, held := a.find(seq)
	if !held || !had.Finished() || had == elsewhere {
		return l, false
	}
	_, retried := a.Retried[seq]
	l = Lost{Seq: seq, Dead: *p.at == event.Dead, Outcome: had, At: p.s.Finished} // notes come in order
	return l, *p.at == event.Unsynced && !(had == event.Dead && retried) || l.Dead && had != event.Dead
}

// Again returns the notes that say so anew, and what they end.
func Again(lost []Lost, now time.Time) (notes []event.Note, ended []event.Settlement) {
	for i := range lost {
		notes = append(notes, lost[i].notes(now)...)
		ended = append(ended, event.Settlement{Seq: lost[i].Seq, Outcome: lost[i].Outcome})
	}
	return notes, ended
}

// notes says so of one event: it is put back, or dies, before it ends where only those
// end so that are pending, or dead letters. A death that counts is not counted again.
func (l *Lost) notes(now time.Time) []event.Note {
	if l.At.IsZero() {
		l.At = now
	}
	end := event.Note{Kind: event.NoteOutcome, Seq: l.Seq, Outcome: l.Outcome, At: l.At, Last: event.Reply{Reason: event.NoteLost}}
	before := end
	switch discarded := l.Outcome == event.Discarded; {
	case discarded == l.Dead:
		end.Copied = l.Counted && l.Outcome == event.Dead
		return []event.Note{end}
	case discarded:
		before.Outcome, before.Copied = event.Dead, l.Counted
	default:
		before = event.Note{Kind: event.NoteRequeue, Seq: l.Seq, At: l.At}
	}
	return []event.Note{before, end}
}
