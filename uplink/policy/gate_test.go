package policy_test

import (
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/syncapi"
)

func TestStale(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	node := func(seq uint64, ago time.Duration, action scan.ActionType) event.Record {
		return event.Record{ID: event.ID{Seq: seq}, Event: scan.Event{Waybill: "A", ActionType: action, ActionTime: now.Add(-ago).Unix()}}
	}
	const other = scan.ActionSigned
	mutes := []scan.ActionType{scan.ActionTransport}
	old, fresh := node(1, time.Hour, scan.ActionTransport), node(1, time.Minute, scan.ActionTransport)
	retried := old
	retried.RetriedAt = now.Add(-time.Minute)
	before := node(0, 0, other)
	for name, c := range map[string]struct {
		gate  policy.Gate
		node  event.Record
		later event.Record
		want  bool
	}{
		"old, a newer one known":       {policy.Gate{FreshFor: 30 * time.Minute}, old, node(2, 0, other), true},
		"old, but the newest":          {policy.Gate{FreshFor: 30 * time.Minute}, old, before, false},
		"old, an older one came later": {policy.Gate{FreshFor: 30 * time.Minute}, old, node(2, 2*time.Hour, other), false},
		"fresh":                        {policy.Gate{FreshFor: 30 * time.Minute}, fresh, node(2, 0, other), false},
		"fresh, but fresh_for is 0":    {policy.Gate{}, fresh, node(2, 0, other), true},
		"a dead letter retried":        {policy.Gate{FreshFor: 30 * time.Minute}, retried, node(2, 0, other), false},
		"the newer one is muted":       {policy.Gate{FreshFor: 30 * time.Minute, Actions: mutes}, old, node(2, 0, other), false},
		"the newer one is pushed, too": {policy.Gate{FreshFor: 30 * time.Minute, Actions: mutes}, old, node(2, 0, scan.ActionTransport), true},
	} {
		newest := c.gate.Newest(c.node, []event.Record{c.node, c.later})
		if e, over := c.gate.Stale(c.node, newest, now); over != c.want || (over && e.Outcome != event.Superseded) {
			t.Errorf("%s: ended %v as %v", name, over, e.Outcome)
		}
	}
}

// TestAnsweredReason: where the centre says why an event is not pushed, that is kept.
func TestAnsweredReason(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	gate := policy.Gate{MaxAge: time.Hour, Actions: []scan.ActionType{scan.ActionSigned}}
	r := event.Record{Event: scan.Event{ActionType: scan.ActionSigned, ActionTime: now.Unix()}}
	mute := r
	mute.Event.ActionType = scan.ActionTransport
	for _, c := range []struct {
		rec    event.Record
		reason string
		want   string
	}{
		{r, "a parcel of A", "a parcel of A"},
		{r, "", "late: the fleet already had a newer node"},
		{mute, "a parcel of A", "notify.actions leaves this action_type out"},
	} {
		if e, over := gate.Answered(c.rec, syncapi.Late, c.reason, now); !over || e.Last.Reason != c.want {
			t.Errorf("%q: %v, %q", c.reason, over, e.Last.Reason)
		}
	}
}
