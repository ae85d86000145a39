package judge_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/snapshottest"
)

// memory is a store of nothing but this package and maps: it shows that the
// judging needs neither files nor a clock of its own.
type memory struct {
	mu    sync.Mutex
	now   func() time.Time
	facts judge.Facts
	next  uint64
	seen  judge.Horizon
	lost  judge.Lost
	told  []string
	held  string
}

var secret = []byte("key of phones")

func (m *memory) do(c judge.Call) (out snapshot.Merged, err error) {
	if err := c.Check(); err != nil {
		return out, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := []*judge.Call{&c}
	g := judge.NewGroup(m.load(calls), secret, m.next)
	out = g.Judge(&c, m.now())
	if out.Lost {
		m.hear(c.Batch.Depot)
	}
	m.next += uint64(len(g.Records))
	maps.Copy(m.facts.Waybills, g.Changed.Waybills)
	maps.Copy(m.facts.Answers, g.Changed.Answers)
	maps.Copy(m.facts.Bindings, g.Changed.Bindings)
	maps.Copy(m.facts.Depots, g.Changed.Depots)
	return out, nil
}

func (m *memory) hear(depot scan.DepotID) {
	heard, _ := m.lost.Hear(depot, m.facts.Depots[depot], m.now().Unix(), func() (bool, error) { return judge.Alone(m.facts.Depots, depot), nil })
	if heard == judge.PutBack {
		m.told = append(m.told, m.lost.Missing.Tell())
	}
}

// load gives the group only what it says it needs.
func (m *memory) load(calls []*judge.Call) judge.Facts {
	f, keys := judge.NewFacts(), judge.Needed(calls)
	for _, id := range keys.Waybills {
		f.Waybills[id] = m.facts.Waybills[id]
		if mother := f.Waybills[id].MotherID(); mother != "" {
			f.Waybills[mother] = m.facts.Waybills[mother]
		}
	}
	for _, n := range keys.Numbers {
		if k, ok := m.facts.Answers[n]; ok {
			f.Answers[n] = k
		}
	}
	for _, id := range keys.Depots {
		f.Depots[id] = m.facts.Depots[id]
	}
	for _, p := range judge.Phones(calls, f, secret) {
		if b, ok := m.facts.Bindings[p]; ok {
			f.Bindings[p] = b
		}
	}
	return f
}

func (m *memory) Merge(_ context.Context, b snapshot.Batch) (snapshot.Merged, error) {
	return m.do(judge.Call{Batch: b})
}

func (m *memory) Import(_ context.Context, items []snapshot.Import) (snapshot.Imported, error) {
	out, err := m.do(judge.Call{Imports: items})
	return out.Imported, err
}

func (m *memory) Answers(_ context.Context, depot scan.DepotID, asks []snapshot.Ask) ([]snapshot.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []snapshot.Answer
	for _, ask := range asks {
		kept, known := m.facts.Answers[judge.Number{Depot: depot, Epoch: ask.Epoch, Seq: ask.Seq}]
		st := m.facts.Waybills[ask.Waybill]
		out = append(out, st.Answer(m.facts.Waybills[st.MotherID()], depot, &ask, kept, known))
	}
	return out, nil
}

func (m *memory) Known(_ context.Context, depot scan.DepotID, ids []scan.WaybillID) (out []snapshot.Known, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if mother := m.facts.Waybills[id].MotherID(); mother != "" && m.facts.Waybills[mother].Scanned(depot) {
			out = append(out, snapshot.Known{Waybill: id, Parcel: true})
		}
		if st := m.facts.Waybills[id]; st.HasData() && st.Scanned(depot) {
			k := snapshot.Known{Waybill: id, Data: *st.Data}
			if b, ok := m.facts.Bindings[judge.KeyOf(secret, st.Data.Receiver.Phone)]; ok {
				k.Binding = b.View()
			}
			out = append(out, k)
		}
	}
	return out, nil
}

func (m *memory) Lookup(_ context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.facts.Waybills[id]
	if mother := st.MotherID(); mother != "" {
		id, st = mother, m.facts.Waybills[mother]
	}
	if st == nil {
		return snapshot.Waybill{}, false, nil
	}
	return st.View(id), true, nil
}

func (m *memory) Forget(_ context.Context, keep snapshot.Retention) (snapshot.Forgotten, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := judge.Evidence{Clock: m.now().Unix(), Depots: judge.DepotsTime(m.facts.Depots)}
	if !keep.WeChat.IsZero() {
		e.WeChat = keep.WeChat.Unix()
	}
	m.seen, m.held = m.seen.Next(e, keep.Keep)
	limit := m.seen.At
	f := snapshot.Forgotten{Done: true, Waybills: len(m.facts.Waybills), Answers: len(m.facts.Answers), Bindings: len(m.facts.Bindings)}
	all := maps.Clone(m.facts.Waybills)
	maps.DeleteFunc(m.facts.Waybills, func(_ scan.WaybillID, st *judge.State) bool {
		return max(st.LastSign(), all[st.MotherID()].LastSign()) < limit
	})
	maps.DeleteFunc(m.facts.Answers, func(_ judge.Number, k judge.Kept) bool { return k.At < limit })
	maps.DeleteFunc(m.facts.Bindings, func(_ judge.PhoneKey, b judge.Binding) bool { return b.At < limit })
	f.Waybills -= len(m.facts.Waybills)
	f.Answers -= len(m.facts.Answers)
	f.Bindings -= len(m.facts.Bindings)
	return f, nil
}

func (m *memory) Depots(context.Context) (out []snapshot.Depot, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, d := range m.facts.Depots {
		out = append(out, d.View(id))
	}
	slices.SortFunc(out, func(x, y snapshot.Depot) int { return cmp.Compare(x.ID, y.ID) })
	return out, nil
}

func (m *memory) Depot(_ context.Context, id scan.DepotID) (snapshot.Depot, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.facts.Depots[id]
	if !ok {
		return snapshot.Depot{}, false, nil
	}
	return d.View(id), true, nil
}

func (m *memory) Stats(context.Context) (snapshot.Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	missing := time.Duration(m.lost.Missing.To-m.lost.Missing.From) * time.Second
	return snapshot.Stats{Held: m.held, Missing: missing, Damage: m.told}, nil
}

func (m *memory) ID(context.Context) (string, error) { return "a store in memory", nil }
func (m *memory) Health(context.Context) error       { return nil }
func (m *memory) Wait(ctx context.Context) error     { <-ctx.Done(); return nil }
func (m *memory) Close() error                       { return nil }

// TestMemoryContract holds the judging alone to the contract of a store.
func TestMemoryContract(t *testing.T) {
	snapshottest.Run(t, func(_ testing.TB, now func() time.Time) func() snapshot.Store {
		m := &memory{now: now, facts: judge.NewFacts(), next: 1}
		return func() snapshot.Store { return m }
	})
}
