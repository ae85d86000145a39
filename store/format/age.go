package format

import (
	"time"

	"scanrelay/store/event"
)

// Age is when a segment began and the last of its events ended, as clocks said, some
// of which were wrong.
type Age struct {
	Begun    time.Time
	Finished time.Time
	Unclear  bool // some ended at a moment that no right clock can have said
}

// slack is how far a clock that is right may step back.
const slack = time.Hour

// End takes one more end into account. Notes come in order, so a clock that says less
// than one before is wrong, or was.
func (a *Age) End(n *event.Note, believed bool) {
	switch {
	case !believed || !n.Copied && n.At.Before(a.Finished.Add(-slack)):
		a.Unclear = true
	case n.At.After(a.Finished):
		a.Finished = n.At
	}
}

// Clock judges by what a clock says now, which may be wrong, what clocks said.
type Clock struct {
	Now    time.Time
	Retain time.Duration
}

// believable is a moment before which no clock is right.
var believable = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func (c Clock) plausible(t time.Time) bool {
	return !t.Before(believable) && !t.After(c.Now.Add(c.Retain))
}

// Believes reports whether a clock that is right can have said t, as far as that can be
// said now.
func (c Clock) Believes(t time.Time) bool {
	return c.plausible(t) || c.Now.Before(believable) && !t.Before(believable)
}

// BegunAt returns a moment by which a segment had begun, EndedAt one by which all
// events of a sealed one had ended that have; owns: some are its own, and were not
// carried into it. What a clock said that was wrong then, in 1970, behind or in years
// to come, or is wrong now, counts from when it is looked at first: that is kept, or
// each restart would begin anew.
func (s *State) BegunAt(number uint64, a *Age, c Clock) time.Time {
	if c.plausible(a.Begun) {
		return a.Begun
	}
	return s.seenAt(seenBegun(number), c)
}

// EndedAt is said at BegunAt.
func (s *State) EndedAt(number uint64, a *Age, owns bool, c Clock) time.Time {
	// Of what was carried into it how it ended is older.
	early := owns && c.plausible(a.Begun) && a.Finished.Before(a.Begun)
	if early || !c.plausible(a.Finished) {
		a.Unclear, a.Finished = true, time.Time{}
	}
	if !a.Unclear {
		return a.Finished
	}
	if seen := s.seenAt(seenEnded(number), c); seen.After(a.Finished) {
		return seen
	}
	return a.Finished
}

// seenBegun and seenEnded are the keys of a segment in Seen.
func seenBegun(number uint64) uint64 { return 2 * number }

func seenEnded(number uint64) uint64 { return 2*number + 1 }

func (s *State) seenAt(key uint64, c Clock) time.Time {
	if seen := s.Seen[key]; c.plausible(seen) {
		return seen
	}
	if !c.Now.Before(believable) {
		s.see(key, c.Now)
		s.Unkept = true
	}
	return c.Now
}
