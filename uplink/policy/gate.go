package policy

import (
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/syncapi"
)

// MaxPath is how many nodes of one waybill are looked at: as many as the centre
// keeps.
const MaxPath = 1000

// Gate is what section notify says about which events are pushed at all.
type Gate struct {
	Actions  []scan.ActionType // empty: every one
	FreshFor time.Duration     // older nodes are pushed only while they are the newest
	MaxAge   time.Duration     // older events expire
}

// Muted reports whether notify.actions leaves the action out.
func (g *Gate) Muted(a scan.ActionType) bool {
	return len(g.Actions) > 0 && !slices.Contains(g.Actions, a)
}

// born is the moment from which the age of a record counts: its action_time,
// or its retry as a dead letter.
func born(r event.Record) time.Time {
	at := time.Unix(r.Event.ActionTime, 0)
	if r.RetriedAt.After(at) {
		return r.RetriedAt
	}
	return at
}

// Expired reports whether the record passed max_age. By a zero now nothing is old.
func (g *Gate) Expired(r event.Record, now time.Time) bool {
	return now.After(born(r).Add(g.MaxAge))
}

// Ends is the gate as far as it needs nothing but the record and whether the
// centre called it late: muted, expired, superseded. ok means that it ended.
func (g *Gate) Ends(r event.Record, late bool, now time.Time) (e Ending, ok bool) {
	switch {
	case g.Muted(r.Event.ActionType):
		return End(r, event.Muted, "notify.actions leaves this action_type out"), true
	case g.Expired(r, now):
		return End(r, event.Expired, "older than notify.max_age ("+g.MaxAge.String()+")"), true
	case late:
		return End(r, event.Superseded, "late: the fleet already had a newer node"), true
	}
	return Ending{}, false
}

// Answered is what the centre's answer means for a record that it ends; the rest
// of them go through Ends.
func (g *Gate) Answered(r event.Record, result syncapi.Result, reason string, now time.Time) (e Ending, ok bool) {
	switch result {
	case syncapi.Refused:
		return End(r, event.Dead, "central refuses the event: "+reason), true
	case syncapi.Duplicate:
		return End(r, event.Superseded, "duplicate: central has this event under another number"), true
	}
	e, ok = g.Ends(r, result == syncapi.Late, now)
	if e.Outcome == event.Superseded && reason != "" {
		e.Last.Reason = reason
	}
	return e, ok
}

// Fresh reports whether the record is pushed whatever newer nodes there are.
func (g *Gate) Fresh(r event.Record, now time.Time) bool { return now.Sub(born(r)) <= g.FreshFor }

// Newest returns the newest action_time among the later records of r's waybill
// that are not muted: a muted one supersedes nothing, or the receiver would hear
// of neither. 0: there is none.
func (g *Gate) Newest(r event.Record, all []event.Record) (at int64) {
	for _, o := range all {
		if o.ID.Seq > r.ID.Seq && !g.Muted(o.Event.ActionType) {
			at = max(at, o.Event.ActionTime)
		}
	}
	return at
}

// Stale is the last part of superseded: a node that is not fresh, with a newer
// one of this depot known. newest is as [Gate.Newest] returns it.
func (g *Gate) Stale(r event.Record, newest int64, now time.Time) (e Ending, ok bool) {
	if g.Fresh(r, now) || newest <= r.Event.ActionTime {
		return Ending{}, false
	}
	return End(r, event.Superseded, "older than notify.fresh_for ("+g.FreshFor.String()+") and a newer node of this depot is known"), true
}

// Ending is a record with how it ended.
type Ending struct {
	Record event.Record
	event.Settlement
}

// End settles a record without a call; its attempts and WeChat's last answer
// stay on record.
func End(r event.Record, outcome event.State, reason string) Ending {
	last := r.Last
	last.Reason = reason
	return Ending{r, event.Settlement{Seq: r.ID.Seq, Lease: r.Lease, Outcome: outcome, Last: last, Attempts: r.Attempts}}
}

// Settlements are the endings as the outbox takes them.
func Settlements(ended []Ending) []event.Settlement {
	s := make([]event.Settlement, len(ended))
	for i, e := range ended {
		s[i] = e.Settlement
	}
	return s
}

// Finished returns the record as it stands after the settlement.
func (e Ending) Finished(now time.Time) event.Record {
	r := e.Record
	r.State, r.Attempts, r.Last, r.FinishedAt = e.Outcome, e.Attempts, e.Last, now
	return r
}
