package judge

import (
	"fmt"

	"scanrelay/agent/scan"
)

// A store that was put back from a backup, or lost its end, knows nothing of a time.
// What depots sent meanwhile they send again; what was imported is missing.

// Period is a run of time, in unix seconds.
type Period struct{ From, To int64 }

// With is the time that both take together, with what lies between; the zero one is
// none.
func (p Period) With(o Period) Period {
	switch {
	case p == Period{}:
		return o
	case o == Period{}:
		return p
	}
	return Period{min(p.From, o.From), max(p.To, o.To)}
}

// Tell says what is missing; OneSays is a format of what one depot alone says.
func (p Period) Tell() string {
	return fmt.Sprintf("this store was put back from a backup, or lost its end: import again the waybill data that was imported between %s and %s",
		when(p.From), when(p.To))
}

const OneSays = "depot %s says that it was answered for events which this store does not have; if another says so too, it was put back from a backup"

// Last is when the last event of all depots came; zero: there is none.
func Last(all map[scan.DepotID]*Numbering) (at int64) {
	for _, d := range all {
		if e := d.newest(); e != nil {
			at = max(at, e.At)
		}
	}
	return at
}

func (p Period) meets(o Period) bool { return p.From < o.To && o.From < p.To }

// Lost is what depots' words come to, that they were answered for events which a store
// does not have.
type Lost struct {
	Missing Period                  // the time of which it knows nothing; zero: there is none
	Claims  map[scan.DepotID]Period // of depots that are not believed yet: in which time it was
}

// Heard is what a depot's word changed.
type Heard int

const (
	Nothing Heard = iota // it is explained already, or was said before
	Claimed              // it is kept, until another depot says so too
	PutBack              // it is believed: Missing has grown, and all claims are settled
)

// Hear takes the word that a depot gives now; d is what the store has of it. It was
// put back between the last event of the depot that it has and now. No depot alone can
// tell that: it takes two that may speak of the same time, which is then the one that
// they share, unless there is no other. One that the store does not know can have been
// answered by another.
func (l *Lost) Hear(depot scan.DepotID, d *Numbering, now int64, alone func() (bool, error)) (Heard, error) {
	e := d.newest()
	if e == nil {
		return Nothing, nil
	}
	claim := Period{e.At, max(now, e.At+1)}
	if before, ok := l.Claims[depot]; claim.meets(l.Missing) || ok && before.From == claim.From {
		return Nothing, nil
	}
	shared, believed := claim, false
	for id, other := range l.Claims {
		if id != depot && claim.meets(other) {
			shared, believed = Period{max(shared.From, other.From), min(shared.To, other.To)}, true
			break
		}
	}
	if !believed {
		var err error
		if believed, err = alone(); err != nil {
			return Nothing, err
		}
	}
	if !believed {
		if l.Claims == nil {
			l.Claims = map[scan.DepotID]Period{}
		}
		l.Claims[depot] = claim
		return Claimed, nil
	}
	l.Missing, l.Claims = l.Missing.With(shared), nil // it may have been put back before
	return PutBack, nil
}

// Forget drops what was before that time: what was imported then would be forgotten by
// now. It reports whether there was any.
func (l *Lost) Forget(before int64) (changed bool) {
	if l.Missing != (Period{}) && l.Missing.To < before {
		l.Missing, changed = Period{}, true
	}
	for id, c := range l.Claims {
		if c.To < before {
			delete(l.Claims, id)
			changed = true
		}
	}
	return changed
}
