package policy

import (
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
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

// History looks at the depot's own records of a waybill.
type History interface {
	// OfWaybills returns all records of the waybills in sequence order. How
	// finished ones ended is not among it.
	OfWaybills(ids []scan.WaybillID, max int) ([]store.Record, error)
	// Newer returns the newest action_time among the waybill's known records
	// with a higher number.
	Newer(waybill scan.WaybillID, seq uint64) (int64, bool, error)
}

// Muted reports whether notify.actions leaves the action out.
func (g *Gate) Muted(a scan.ActionType) bool {
	return len(g.Actions) > 0 && !slices.Contains(g.Actions, a)
}

// born is the moment from which the age of a record counts: its action_time,
// or its retry as a dead letter.
func born(r store.Record) time.Time {
	at := time.Unix(r.Event.ActionTime, 0)
	if r.RetriedAt.After(at) {
		return r.RetriedAt
	}
	return at
}

// Expired reports whether the record passed max_age.
func (g *Gate) Expired(r store.Record, now time.Time) bool {
	return now.After(born(r).Add(g.MaxAge))
}

// Ends is the gate as far as it needs nothing but the record and whether the
// centre called it late: muted, expired, superseded. ok means that it ended.
func (g *Gate) Ends(r store.Record, late bool, now time.Time) (e Ending, ok bool) {
	switch {
	case g.Muted(r.Event.ActionType):
		return end(r, store.Muted, "notify.actions leaves this action_type out"), true
	case g.Expired(r, now):
		return end(r, store.Expired, "older than notify.max_age ("+g.MaxAge.String()+")"), true
	case late:
		return end(r, store.Superseded, "late: the fleet already had a newer node"), true
	}
	return Ending{}, false
}

// Answered is what the centre's answer means for a record that it ends; the rest
// of them go through Ends.
func (g *Gate) Answered(r store.Record, result syncapi.Result, reason string, now time.Time) (e Ending, ok bool) {
	switch result {
	case syncapi.Refused:
		return end(r, store.Dead, "central refuses the event: "+reason), true
	case syncapi.Duplicate:
		return end(r, store.Superseded, "duplicate: central has this event under another number"), true
	}
	return g.Ends(r, result == syncapi.Late, now)
}

// Stale is the last part of superseded: a node older than fresh_for with a
// newer one of this depot known. Where that cannot be read the node is pushed
// rather than dropped.
func (g *Gate) Stale(r store.Record, h History, now time.Time) (e Ending, ok bool) {
	if now.Sub(born(r)) <= g.FreshFor {
		return Ending{}, false
	}
	at, known, err := h.Newer(r.Event.Waybill, r.ID.Seq)
	if err != nil || !known || at <= r.Event.ActionTime || !g.newerPushable(r, h) {
		return Ending{}, false
	}
	return end(r, store.Superseded, "older than notify.fresh_for ("+g.FreshFor.String()+") and a newer node of this depot is known"), true
}

// newerPushable makes sure that the newer node is not one that is muted: such a
// node supersedes nothing, or the receiver would hear of neither.
func (g *Gate) newerPushable(r store.Record, h History) bool {
	if len(g.Actions) == 0 {
		return true
	}
	all, err := h.OfWaybills([]scan.WaybillID{r.Event.Waybill}, MaxPath)
	return err == nil && slices.ContainsFunc(all, func(o store.Record) bool {
		return o.ID.Seq > r.ID.Seq && o.Event.ActionTime > r.Event.ActionTime && !g.Muted(o.Event.ActionType)
	})
}

// Ending is a record with how it ended.
type Ending struct {
	Record store.Record
	store.Settlement
}

// Buried is a record that ended as a dead letter for a reason of the relays.
func Buried(r store.Record, reason string) Ending { return end(r, store.Dead, reason) }

// end settles a record without a call; its attempts and WeChat's last answer
// stay on record.
func end(r store.Record, outcome store.State, reason string) Ending {
	last := r.Last
	last.Reason = reason
	return Ending{r, store.Settlement{Seq: r.ID.Seq, Lease: r.Lease, Outcome: outcome, Last: last, Attempts: r.Attempts}}
}

// Settlements are the endings as the outbox takes them.
func Settlements(ended []Ending) []store.Settlement {
	s := make([]store.Settlement, len(ended))
	for i, e := range ended {
		s[i] = e.Settlement
	}
	return s
}

// Finished returns the record as it stands after the settlement.
func (e Ending) Finished(now time.Time) store.Record {
	r := e.Record
	r.State, r.Attempts, r.Last, r.FinishedAt = e.Outcome, e.Attempts, e.Last, now
	return r
}
