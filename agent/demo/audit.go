package demo

import (
	"fmt"
	"slices"
	"sync"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/wechat/fake"
)

// ledger is what the demo knows from outside the agent: what the scanners
// published and had acknowledged, and what the hooks told of outcomes.
type ledger struct {
	mu       sync.Mutex
	sent     map[key]bool
	acked    map[key]bool
	outcomes map[store.ID][]store.State
}

func newLedger() *ledger {
	return &ledger{sent: map[key]bool{}, acked: map[key]bool{}, outcomes: map[store.ID][]store.State{}}
}

// note marks a scan in one of the books: sent or acked.
func (l *ledger) note(book map[key]bool, k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	book[k] = true
}

func (l *ledger) noteOutcome(r store.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[r.ID] = append(l.outcomes[r.ID], r.State)
}

// counts returns how many scans were published and how many acknowledged.
func (l *ledger) counts() (sent, acked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent), len(l.acked)
}

// audit compares the ledger, the outbox and what WeChat received, and returns
// what does not agree, a line each; none is the proof that the demo is for.
// records are all of the outbox in sequence order.
func (l *ledger) audit(records []store.Record, pushes []fake.Push) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := auditor{stored: map[key]store.Record{}, order: map[scan.WaybillID][]key{}}
	for _, r := range records {
		a.record(r, l.outcomes[r.ID])
	}
	for k := range l.acked {
		if _, ok := a.stored[k]; !ok {
			a.complain("an acknowledged scan of %s is not in the outbox", k.waybill)
		}
	}
	for k := range a.stored {
		if !l.sent[k] {
			a.complain("the outbox has a scan of %s that no scanner made", k.waybill)
		}
	}
	a.compare(pushes)
	return a.wrong
}

// answered leaves out the messages whose call did not get WeChat's answer: the
// agent cannot know of them, and pushes again. It is what the simulated WeChat
// does where it is told to misbehave.
func answered(pushes []fake.Push, calls []fake.Call) []fake.Push {
	spoilt := map[int]bool{}
	for _, c := range calls {
		if c.Dropped || c.Errcode != 0 || c.Status != 0 && c.Status != 200 || c.Fault == "body" {
			spoilt[c.Seq] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(pushes), func(p fake.Push) bool { return spoilt[p.CallSeq] })
}

type auditor struct {
	stored map[key]store.Record
	order  map[scan.WaybillID][]key // of pushed ones, in sequence order
	wrong  []string
}

func (a *auditor) complain(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// record checks one event: stored once, ended once, and the same to all.
func (a *auditor) record(r store.Record, told []store.State) {
	k := keyOf(r.Event)
	if _, twice := a.stored[k]; twice {
		a.complain("%s %s was stored twice", r.ID, k.waybill)
	}
	a.stored[k] = r
	switch {
	case !r.State.Finished():
		a.complain("%s %s is still %s", r.ID, k.waybill, r.State)
	case len(told) != 1:
		a.complain("%s %s had %d outcomes: %v", r.ID, k.waybill, len(told), told)
	case told[0] != r.State:
		a.complain("%s %s ended %s but the outbox says %s", r.ID, k.waybill, told[0], r.State)
	case r.State == store.Dead:
		a.complain("%s %s is a dead letter: %s", r.ID, k.waybill, r.Last.Reason)
	}
	if r.State == store.Pushed {
		a.order[r.Event.Waybill] = append(a.order[r.Event.Waybill], k)
	}
}

// compare checks that WeChat received each pushed event once, nothing else, and
// each waybill's in its order.
func (a *auditor) compare(pushes []fake.Push) {
	got := map[scan.WaybillID][]key{}
	for _, p := range pushes {
		w := scan.WaybillID(p.WaybillID)
		got[w] = append(got[w], key{p.WaybillID, p.Node.ActionType, p.Node.ActionMsg})
	}
	for w, want := range a.order {
		if !slices.Equal(got[w], want) {
			a.complain("%s: %d events are pushed, WeChat received %d, or in another order", w, len(want), len(got[w]))
		}
		delete(got, w)
	}
	for w, rest := range got {
		a.complain("%s: WeChat received %d messages of events that are not pushed", w, len(rest))
	}
}
