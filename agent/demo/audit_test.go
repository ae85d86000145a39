package demo

import (
	"strings"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/wechat/fake"
)

// books makes a ledger, records and pushes that agree: one waybill, its first
// scan not bound, the others pushed.
func books() (*ledger, []store.Record, []fake.Push) {
	l := newLedger()
	var records []store.Record
	var pushes []fake.Push
	for i, msg := range []string{"a", "b", "c"} {
		k := key{"YT1", 200001, msg}
		r := store.Record{ID: store.ID{Epoch: 1, Seq: uint64(i + 1)}, State: store.Pushed,
			Event: scan.Event{Waybill: "YT1", ActionType: 200001, ActionMsg: scan.Text(msg)}}
		if i == 0 {
			r.State = store.NotBound
		} else {
			pushes = append(pushes, fake.Push{WaybillID: "YT1", Node: fake.Node{ActionType: 200001, ActionMsg: msg}})
		}
		l.note(l.sent, k)
		l.note(l.acked, k)
		l.noteOutcome(r)
		records = append(records, r)
	}
	return l, records, pushes
}

// Each disagreement that the audit is there for must be found.
func TestAudit(t *testing.T) {
	if l, r, p := books(); len(l.audit(r, p)) != 0 {
		t.Errorf("books that agree: %v", l.audit(r, p))
	}
	for name, c := range map[string]struct {
		spoil func(l *ledger, r *[]store.Record, p *[]fake.Push)
		want  string
	}{
		"lost event":      {func(_ *ledger, r *[]store.Record, _ *[]fake.Push) { *r = (*r)[1:] }, "not in the outbox"},
		"stored twice":    {func(_ *ledger, r *[]store.Record, _ *[]fake.Push) { *r = append(*r, (*r)[0]) }, "stored twice"},
		"never scanned":   {func(l *ledger, _ *[]store.Record, _ *[]fake.Push) { delete(l.sent, key{"YT1", 200001, "a"}) }, "no scanner made"},
		"pending":         {func(_ *ledger, r *[]store.Record, _ *[]fake.Push) { (*r)[0].State = store.ToPush }, "still to_push"},
		"two outcomes":    {func(l *ledger, r *[]store.Record, _ *[]fake.Push) { l.noteOutcome((*r)[0]) }, "2 outcomes"},
		"no outcome told": {func(l *ledger, r *[]store.Record, _ *[]fake.Push) { delete(l.outcomes, (*r)[0].ID) }, "0 outcomes"},
		"other outcome":   {func(_ *ledger, r *[]store.Record, _ *[]fake.Push) { (*r)[0].State = store.Muted }, "outbox says muted"},
		"dead letter": {func(l *ledger, r *[]store.Record, _ *[]fake.Push) {
			(*r)[0].State = store.Dead
			l.outcomes[(*r)[0].ID] = []store.State{store.Dead}
		}, "dead letter"},
		"push lost":         {func(_ *ledger, _ *[]store.Record, p *[]fake.Push) { *p = (*p)[1:] }, "WeChat received 1"},
		"pushed twice":      {func(_ *ledger, _ *[]store.Record, p *[]fake.Push) { *p = append(*p, (*p)[1]) }, "WeChat received 3"},
		"order":             {func(_ *ledger, _ *[]store.Record, p *[]fake.Push) { (*p)[0], (*p)[1] = (*p)[1], (*p)[0] }, "another order"},
		"pushed out of air": {func(_ *ledger, _ *[]store.Record, p *[]fake.Push) { *p = append(*p, fake.Push{WaybillID: "YT2"}) }, "not pushed"},
	} {
		t.Run(name, func(t *testing.T) {
			l, r, p := books()
			c.spoil(l, &r, &p)
			if wrong := strings.Join(l.audit(r, p), "\n"); !strings.Contains(wrong, c.want) {
				t.Errorf("audit says %q, want something with %q", wrong, c.want)
			}
		})
	}
}

// A message whose answer was spoilt is pushed again and counts once; the first
// time it did not count.
func TestAnswered(t *testing.T) {
	pushes := []fake.Push{{Seq: 1, CallSeq: 1}, {Seq: 2, CallSeq: 2}, {Seq: 3, CallSeq: 3}, {Seq: 4, CallSeq: 4}, {Seq: 5, CallSeq: 5}}
	calls := []fake.Call{{Seq: 1}, {Seq: 2, Dropped: true}, {Seq: 3, Status: 503}, {Seq: 4, Fault: "slow"}, {Seq: 5, Errcode: -1}}
	got := answered(pushes, calls)
	if len(got) != 2 || got[0].Seq != 1 || got[1].Seq != 4 || len(pushes) != 5 || pushes[1].Seq != 2 {
		t.Errorf("%+v", got)
	}
}
