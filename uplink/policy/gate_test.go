package policy_test

import (
	"errors"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
)

// newer is a history in which one newer node of the waybill is known.
type newer struct {
	event.Record
	err error
}

func (n newer) OfWaybills([]scan.WaybillID, int) ([]event.Record, error) {
	return []event.Record{n.Record}, n.err
}

func (n newer) Newer(scan.WaybillID, uint64) (int64, bool, error) {
	return n.Event.ActionTime, n.Event.ActionTime != 0, n.err
}

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
	for name, c := range map[string]struct {
		gate    policy.Gate
		node    event.Record
		history newer
		want    bool
	}{
		"old, a newer one known":        {policy.Gate{FreshFor: 30 * time.Minute}, old, newer{Record: node(2, 0, other)}, true},
		"old, but the newest":           {policy.Gate{FreshFor: 30 * time.Minute}, old, newer{}, false},
		"old, an older one came later":  {policy.Gate{FreshFor: 30 * time.Minute}, old, newer{Record: node(2, 2*time.Hour, other)}, false},
		"fresh":                         {policy.Gate{FreshFor: 30 * time.Minute}, fresh, newer{Record: node(2, 0, other)}, false},
		"fresh, but fresh_for is 0":     {policy.Gate{}, fresh, newer{Record: node(2, 0, other)}, true},
		"a dead letter retried":         {policy.Gate{FreshFor: 30 * time.Minute}, retried, newer{Record: node(2, 0, other)}, false},
		"the newer one is muted":        {policy.Gate{FreshFor: 30 * time.Minute, Actions: mutes}, old, newer{Record: node(2, 0, other)}, false},
		"the newer one is pushed, too":  {policy.Gate{FreshFor: 30 * time.Minute, Actions: mutes}, old, newer{Record: node(2, 0, scan.ActionTransport)}, true},
		"the history cannot be read":    {policy.Gate{FreshFor: 30 * time.Minute}, old, newer{Record: node(2, 0, other), err: errors.New("odd")}, false},
		"the history of a muted action": {policy.Gate{FreshFor: 30 * time.Minute, Actions: mutes}, old, newer{Record: node(2, 0, scan.ActionTransport), err: errors.New("odd")}, false},
	} {
		if e, over := c.gate.Stale(c.node, c.history, now); over != c.want || (over && e.Outcome != event.Superseded) {
			t.Errorf("%s: ended %v as %v", name, over, e.Outcome)
		}
	}
}
