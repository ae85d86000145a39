package uplink

import (
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// gate holds what notify says about which events are pushed at all.
type gate struct {
	actions  map[scan.ActionType]bool // empty: every one
	freshFor time.Duration
	maxAge   time.Duration
	history  History
}

func newGate(n Notify, h History) *gate {
	g := &gate{actions: make(map[scan.ActionType]bool), freshFor: n.FreshFor, maxAge: n.MaxAge, history: h}
	for _, a := range n.Actions {
		g.actions[a] = true
	}
	return g
}

// muted reports whether notify.actions leaves the action out.
func (g *gate) muted(a scan.ActionType) bool { return len(g.actions) > 0 && !g.actions[a] }

// born is the moment from which the age of a record counts: its action_time,
// or its retry as a dead letter.
func born(r store.Record) time.Time {
	at := time.Unix(r.Event.ActionTime, 0)
	if r.RetriedAt.After(at) {
		return r.RetriedAt
	}
	return at
}

// expires is when the record passes max_age.
func (g *gate) expires(r store.Record) time.Time { return born(r).Add(g.maxAge) }

// first is the gate as far as it needs nothing but the record and whether the
// centre called it late: muted, expired, superseded. ok means that it ended.
func (g *gate) first(r store.Record, late bool, now time.Time) (s store.Settlement, ok bool) {
	switch {
	case g.muted(r.Event.ActionType):
		return end(r, store.Muted, "notify.actions leaves this action_type out"), true
	case now.After(g.expires(r)):
		return end(r, store.Expired, "older than notify.max_age ("+g.maxAge.String()+")"), true
	case late:
		return end(r, store.Superseded, "late: the fleet already had a newer node"), true
	}
	return store.Settlement{}, false
}

// stale is the last part of superseded: a node older than fresh_for with a
// newer one of this depot known.
func (g *gate) stale(r store.Record, now time.Time) (s store.Settlement, ok bool) {
	if now.Sub(born(r)) <= g.freshFor {
		return store.Settlement{}, false
	}
	// Where it cannot be read the node is pushed rather than dropped.
	at, known, err := g.history.Newer(r.Event.Waybill, r.ID.Seq)
	if err != nil || !known || at <= r.Event.ActionTime || !g.newerPushable(r) {
		return store.Settlement{}, false
	}
	return end(r, store.Superseded, "older than notify.fresh_for ("+g.freshFor.String()+") and a newer node of this depot is known"), true
}

// newerPushable makes sure that the newer node is not one that is muted: such a
// node supersedes nothing, or the receiver would hear of neither.
func (g *gate) newerPushable(r store.Record) bool {
	if len(g.actions) == 0 {
		return true
	}
	all, err := g.history.OfWaybills([]scan.WaybillID{r.Event.Waybill}, maxPath)
	if err != nil {
		return false
	}
	for _, o := range all {
		if o.ID.Seq > r.ID.Seq && o.Event.ActionTime > r.Event.ActionTime && !g.muted(o.Event.ActionType) {
			return true
		}
	}
	return false
}

// end settles a record without a call; its attempts and WeChat's last answer
// stay on record.
func end(r store.Record, outcome store.State, reason string) store.Settlement {
	last := r.Last
	last.Reason = reason
	return store.Settlement{Seq: r.ID.Seq, Lease: r.Lease, Outcome: outcome, Last: last, Attempts: r.Attempts}
}
