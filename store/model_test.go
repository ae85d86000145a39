package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

var modelRuns = flag.Int("model.runs", 60, "random runs of the model test")

// model is what the outbox promises, said as simply as possible.
type model struct {
	events    []modelEvent // number i+1 is events[i]
	watermark uint64
	flushed   uint64 // lowest watermark that a crash may bring back
	duplicate uint64
	ids       map[string]bool
	dropped   map[string]bool // identities that were in segments that are gone
	requeued  uint64
	settled   [event.NumStates]uint64
}

type modelEvent struct {
	waybill, id string
	action      int64
	outcome     event.State // 0: pending
	waiting     bool        // for waybill data
	leasedUntil time.Time
	notBefore   time.Time
	attempts    int
	retriedAt   time.Time
}

func (m *model) event(seq uint64) *modelEvent { return &m.events[seq-1] }

func (m *model) state(seq uint64) event.State {
	e := m.event(seq)
	switch {
	case e.outcome != 0:
		return e.outcome
	case seq > m.watermark:
		return event.Unsynced
	case e.waiting:
		return event.AwaitingWaybill
	}
	return event.ToPush
}

// leasable lists the first pending events that may be leased now, in the order
// of the last event of their waybill that does not wait for data. One that does
// not wait wakes those before it.
func (m *model) leasable(now time.Time) (seqs []uint64) {
	tails := map[string]uint64{}
	heads := map[string]uint64{}
	going := map[string]uint64{} // the first that does not wait
	leased := map[string]bool{}
	for i := range m.events {
		e, seq := &m.events[i], uint64(i+1)
		if e.outcome != 0 {
			continue
		}
		if heads[e.waybill] == 0 {
			heads[e.waybill] = seq
		}
		if e.waiting {
			continue
		}
		if going[e.waybill] == 0 {
			going[e.waybill] = seq
		}
		tails[e.waybill] = seq
		leased[e.waybill] = leased[e.waybill] || !e.leasedUntil.IsZero()
	}
	due := func(seq uint64) bool { return seq <= m.watermark && !m.event(seq).notBefore.After(now) }
	for w, first := range going {
		if !leased[w] && due(first) && due(heads[w]) {
			seqs = append(seqs, heads[w])
		}
	}
	slices.SortFunc(seqs, func(a, b uint64) int {
		return int(tails[m.event(a).waybill]) - int(tails[m.event(b).waybill])
	})
	return seqs
}

func (m *model) expire(now time.Time) {
	for i := range m.events {
		if e := &m.events[i]; !e.leasedUntil.IsZero() && !e.leasedUntil.After(now) {
			e.leasedUntil = time.Time{}
		}
		if e := &m.events[i]; !e.notBefore.After(now) {
			e.notBefore = time.Time{} // a clock that steps back does not take it back
		}
	}
}

func (m *model) leasedSeqs() (seqs []uint64) {
	for i := range m.events {
		if !m.events[i].leasedUntil.IsZero() {
			seqs = append(seqs, uint64(i+1))
		}
	}
	return seqs
}

func (m *model) deadSeqs() (seqs []uint64) {
	for i := range m.events {
		if m.events[i].outcome == event.Dead {
			seqs = append(seqs, uint64(i+1))
		}
	}
	return seqs
}

// modelRun is one random run: operations on the outbox and the model alike.
type modelRun struct {
	*testing.T
	*model
	rnd   *rand.Rand
	clock *testClock
	seed  uint64
	paged bool // not everything is held in memory
	dir   string
	o     *Outbox
	log   []string
}

func TestModel(t *testing.T) {
	t.Parallel()
	for i := range storetest.Rounds(*modelRuns, 8) {
		seed := uint64(i) + 1
		if s := os.Getenv("MODEL_SEED"); s != "" {
			fmt.Sscan(s, &seed)
		}
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, seed) }) {
			break
		}
	}
}

func runModel(t *testing.T, seed uint64) {
	r := &modelRun{
		T: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), clock: newTestClock(), dir: fastDir(t),
		model: &model{ids: map[string]bool{}, dropped: map[string]bool{}},
	}
	r.open(r.dir)
	ops := []struct {
		weight int
		name   string
		run    func()
	}{
		{20, "append", r.append}, {12, "synced", r.synced}, {15, "lease", r.lease}, {15, "settle", r.settle},
		{6, "release", r.release}, {4, "park", r.park}, {4, "wake", r.wake}, {3, "requeue", r.requeue},
		{2, "discard", r.discard}, {6, "advance", r.advance}, {1, "rewind", r.rewind}, {1, "epoch", r.epoch},
		{2, "restart", r.restart}, {2, "crash", r.crash}, {1, "retire", r.retire}, {2, "scan", r.scan},
		{3, "look", r.look},
	}
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	for range 120 {
		n := r.rnd.IntN(total)
		for _, op := range ops {
			if n -= op.weight; n < 0 {
				r.log = append(r.log, op.name)
				op.run()
				break
			}
		}
		r.check()
		if t.Failed() {
			t.Fatalf("seed %d after %v", seed, r.log[max(0, len(r.log)-20):])
		}
	}
}

// open opens the outbox, in half of the runs with hardly anything in memory.
func (r *modelRun) open(dir string) {
	opts := small(r.clock)
	if r.paged = r.seed%2 == 0; r.paged {
		opts.windowSize = 2 + r.rnd.IntN(30)
	}
	r.dir, r.o = dir, open(r.T, dir, opts)
}

func (r *modelRun) append() {
	var b scan.Batch
	for range 1 + r.rnd.IntN(6) {
		w := fmt.Sprintf("W%d", r.rnd.IntN(12))
		id := fmt.Sprintf("e%d", r.rnd.IntN(400))
		if r.dropped[w+"/"+id] {
			continue // it may be recognised, or may not
		}
		action := r.clock.Now().Unix() - int64(r.rnd.IntN(3600))
		size := r.rnd.IntN(2000)
		if r.rnd.IntN(4) == 0 {
			size = r.rnd.IntN(100_000)
		}
		b.Events = append(b.Events, padded(w, id, action, size))
		if r.ids[w+"/"+id] {
			r.duplicate++
			continue
		}
		r.ids[w+"/"+id] = true
		r.events = append(r.events, modelEvent{waybill: w, id: id, action: action})
	}
	if _, err := r.o.Append(context.Background(), b); err != nil {
		r.Fatal(err)
	}
}

func (r *modelRun) synced() {
	r.expire(r.clock.Now())
	upTo := r.watermark + uint64(r.rnd.IntN(1+len(r.events)-int(r.watermark)))
	var ended []event.Settlement
	var waiting []uint64
	for seq := r.watermark + 1; seq <= upTo; seq++ {
		e := r.event(seq)
		switch n := r.rnd.IntN(10); {
		case n == 0:
			ended = append(ended, event.Settlement{Seq: seq, Outcome: event.Superseded, Last: event.Reply{Reason: "late"}})
			if e.outcome == 0 && e.leasedUntil.IsZero() {
				e.outcome = event.Superseded
				r.model.settled[event.Superseded]++
			}
		case n < 3:
			waiting = append(waiting, seq)
		}
	}
	if len(ended) == 0 {
		r.flushed = min(r.flushed, r.watermark)
	}
	for seq := r.watermark + 1; seq <= upTo; seq++ {
		if e := r.event(seq); e.outcome == 0 {
			e.waiting = slices.Contains(waiting, seq) && e.leasedUntil.IsZero()
		}
	}
	r.watermark = max(r.watermark, upTo)
	if err := r.o.Synced(upTo, ended, waiting); err != nil {
		r.Fatal(err)
	}
}

func (r *modelRun) lease() {
	now := r.clock.Now()
	r.expire(now)
	want := r.leasable(now)
	before := r.o.index.Counts()
	doubtful, cools := before.Pending > before.Held, before.Cooling > 0
	n := 1 + r.rnd.IntN(8)
	ttl := time.Duration(1+r.rnd.IntN(120)) * time.Second
	records, err := r.o.Lease(n, ttl)
	if err != nil {
		r.Fatal(err)
	}
	var got []uint64
	for _, rec := range records {
		got = append(got, rec.ID.Seq)
		e := r.event(rec.ID.Seq)
		if string(rec.Event.Waybill) != e.waybill || rec.Event.EventID != e.id || rec.Attempts != e.attempts || !rec.RetriedAt.Equal(e.retriedAt) {
			r.Fatalf("leased %d: got %+v, want %+v", rec.ID.Seq, rec, e)
		}
		e.leasedUntil, e.waiting = now.Add(ttl), false
	}
	r.wakeBefore()
	if !r.fairLease(want, got, n, doubtful, cools) {
		r.Fatalf("leased %v of %v, max %d", got, want, n)
	}
}

// wakeBefore: an event that waits before one of its waybill that does not may
// have been woken by the lease that looked at the latter.
func (r *modelRun) wakeBefore() {
	awaiting := event.AwaitingWaybill
	waits := seqsOf(all(r, r.o, Filter{State: &awaiting}))
	going := map[string]bool{}
	for i := len(r.events); i > 0; i-- {
		switch e := r.event(uint64(i)); {
		case e.outcome != 0:
		case !e.waiting:
			going[e.waybill] = true
		case going[e.waybill] && !slices.Contains(waits, uint64(i)):
			e.waiting = false
		}
	}
}

// fairLease: as many as there are, half from each end, in any order. While
// something is on disk only that has to be looked at, what has not is leased
// first; where little fits into memory, what is there may hold the rest up.
func (r *modelRun) fairLease(can, got []uint64, n int, doubtful, cools bool) bool {
	if r.paged {
		stuck := cools || slices.ContainsFunc(r.events, func(e modelEvent) bool { return !e.leasedUntil.IsZero() || !e.notBefore.IsZero() })
		if stranger := slices.ContainsFunc(got, func(seq uint64) bool { return !slices.Contains(can, seq) }); stranger || len(got) > n {
			return false
		}
		return len(got) == min(n, len(can)) || stuck
	}
	if len(got) != min(n, len(can)) {
		return false
	}
	if doubtful {
		return !slices.ContainsFunc(got, func(seq uint64) bool { return !slices.Contains(can, seq) })
	}
	for young := range len(got) + 1 {
		old := len(got) - young
		want := slices.Concat(can[:old], can[len(can)-young:])
		if d := young - old; d < -1 || d > 1 {
			continue
		}
		a, b := slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
		if slices.Equal(a, b) {
			return true
		}
	}
	return false
}

// pick chooses some of the leased events, and sometimes one that is not.
func (r *modelRun) pick() (leased, all []uint64) {
	for _, seq := range r.leasedSeqs() {
		if r.rnd.IntN(2) == 0 {
			leased = append(leased, seq)
		}
	}
	all = slices.Clone(leased)
	if len(r.events) > 0 && r.rnd.IntN(8) == 0 {
		if seq := 1 + uint64(r.rnd.IntN(len(r.events))); r.event(seq).leasedUntil.IsZero() {
			all = append(all, seq)
		}
	}
	return leased, all
}

func (r *modelRun) wantLeaseError(err error, leased, all []uint64) {
	r.Helper()
	if len(leased) == len(all) && err != nil || len(leased) != len(all) && !errors.Is(err, event.ErrNotLeased) {
		r.Fatalf("leased %v of %v: %v", leased, all, err)
	}
}

func (r *modelRun) settle() {
	r.expire(r.clock.Now())
	leased, all := r.pick()
	var s []event.Settlement
	for _, seq := range all {
		outcome := []event.State{event.Pushed, event.NotBound, event.Expired, event.Dead, event.Muted}[r.rnd.IntN(5)]
		s = append(s, event.Settlement{Seq: seq, Outcome: outcome, Attempts: 3, Last: event.Reply{Reason: "because", ErrCode: 932003, RID: "r"}})
		if slices.Contains(leased, seq) {
			e := r.event(seq)
			e.outcome, e.leasedUntil = outcome, time.Time{}
			r.model.settled[outcome]++
		}
	}
	r.wantLeaseError(r.o.Settle(context.Background(), s), leased, all)
}

func (r *modelRun) release() {
	r.expire(r.clock.Now())
	leased, all := r.pick()
	var retries []event.Retry
	for _, seq := range all {
		at := r.clock.Now().Add(time.Duration(r.rnd.IntN(90)-10) * time.Second)
		retries = append(retries, event.Retry{Seq: seq, At: at, Attempts: 2})
		if slices.Contains(leased, seq) {
			e := r.event(seq)
			e.leasedUntil, e.notBefore, e.attempts = time.Time{}, at, 2
		}
	}
	r.wantLeaseError(r.o.Release(retries...), leased, all)
	for _, seq := range leased {
		if _, tried := r.o.index.Attempt(seq); !tried { // it cools: too many failed before
			r.event(seq).attempts, r.event(seq).notBefore = 0, time.Time{}
		}
	}
}

func (r *modelRun) park() {
	r.expire(r.clock.Now())
	leased, all := r.pick()
	for _, seq := range leased {
		r.event(seq).leasedUntil = time.Time{}
		for i := range r.events[:r.watermark] {
			if e := &r.events[i]; e.waybill == r.event(seq).waybill && e.outcome == 0 {
				e.waiting = true
			}
		}
	}
	var records []event.Record
	for _, seq := range all {
		records = append(records, event.Record{ID: event.ID{Seq: seq}, Event: scan.Event{Waybill: scan.WaybillID(r.event(seq).waybill)}})
	}
	r.wantLeaseError(r.o.Park(records...), leased, all)
}

func (r *modelRun) wake() {
	var want, got []uint64
	for i := range r.events {
		if r.events[i].waiting {
			want = append(want, uint64(i+1))
		}
	}
	for after := uint64(0); ; after = got[len(got)-1] {
		part, err := r.o.Waiting(3, after)
		if err != nil {
			r.Fatal(err)
		}
		if len(part) == 0 {
			break
		}
		got = append(got, seqsOf(part)...)
	}
	if !slices.Equal(want, got) {
		r.Fatalf("waiting %v, want %v", got, want)
	}
	if len(want) == 0 {
		return
	}
	seq := want[r.rnd.IntN(len(want))]
	if r.rnd.IntN(2) == 0 {
		r.event(seq).waiting = false
		r.o.WakeEvents(seq)
		return
	}
	for i := range r.events {
		if e := &r.events[i]; e.waybill == r.event(seq).waybill {
			e.waiting = false
		}
	}
	if err := r.o.Wake(scan.WaybillID(r.event(seq).waybill)); err != nil {
		r.Fatal(err)
	}
}

func (r *modelRun) someDead() (seqs []uint64, ids []event.ID) {
	dead := r.deadSeqs()
	all := r.o.DeadIDs()
	if len(dead) != len(all) {
		r.Fatalf("dead letters %v, want %v", all, dead)
	}
	for i, id := range all {
		if r.rnd.IntN(2) == 0 {
			seqs, ids = append(seqs, dead[i]), append(ids, id)
		}
	}
	return seqs, ids
}

func (r *modelRun) requeue() {
	seqs, ids := r.someDead()
	n, err := r.o.Requeue(context.Background(), ids...)
	if err != nil || n != len(seqs) {
		r.Fatal(n, seqs, err)
	}
	for _, seq := range seqs {
		e := r.event(seq)
		e.outcome, e.attempts, e.notBefore = 0, 0, time.Time{}
		e.retriedAt = r.clock.Now()
		r.model.requeued++
		newest, ok := int64(0), false
		for i := range r.events {
			later := &r.events[i]
			if uint64(i) >= seq && later.waybill == e.waybill && (!ok || later.action > newest) {
				newest, ok = later.action, true
			}
		}
		got, gotOK, err := r.o.Newer(scan.WaybillID(e.waybill), seq)
		if ok != gotOK || got != newest || err != nil {
			r.Fatalf("newer than %d: %d %t %v, want %d %t", seq, got, gotOK, err, newest, ok)
		}
	}
}

func (r *modelRun) discard() {
	seqs, ids := r.someDead()
	n, err := r.o.Discard(context.Background(), "broken label", ids...)
	if err != nil || n != len(seqs) {
		r.Fatal(n, seqs, err)
	}
	for _, seq := range seqs {
		r.event(seq).outcome = event.Discarded
		r.model.settled[event.Discarded]++
	}
}

func (r *modelRun) advance() {
	r.clock.advance(time.Duration(r.rnd.IntN(60)) * time.Second)
	if r.rnd.IntN(10) == 0 {
		r.clock.advance(-time.Hour)
	}
}

func (r *modelRun) rewind() {
	have := uint64(r.rnd.IntN(int(r.watermark) + 1))
	if err := r.o.Rewind(have); err != nil {
		r.Fatal(err)
	}
	for i := have; i < r.watermark; i++ {
		r.events[i].waiting = false
	}
	if have < r.watermark { // else nothing is written
		r.watermark, r.flushed = have, have
	}
}

func (r *modelRun) epoch() {
	before := r.o.Counts()
	if err := r.o.NewEpoch("test"); err != nil {
		r.Fatal(err)
	}
	if after := r.o.Counts(); after.Epoch == before.Epoch {
		r.Fatal("epoch is the old one")
	}
}

func (r *modelRun) restart() {
	closeChecked(r.T, r.o)
	before := slices.Clone(r.events)
	r.reopened(r.dir)
	for i := range before {
		e := &r.events[i]
		e.waiting = before[i].waiting
		if e.outcome == 0 && e.attempts < before[i].attempts { // of one that cooled disk may know more
			r.Fatalf("%d attempts for %d after a clean stop, want %d at least", e.attempts, i+1, before[i].attempts)
		}
	}
	if w := r.o.Counts().Watermark; w != r.watermark {
		r.Fatalf("watermark %d after a clean stop, want %d", w, r.watermark)
	}
}

// crash goes on with a copy of the files, as a kill would leave them.
func (r *modelRun) crash() {
	if err := r.o.change(context.Background(), &changeOp{}); err != nil { // the committer has nothing to do now
		r.Fatal(err)
	}
	dir := copied(r.T, r.dir)
	closeChecked(r.T, r.o)
	r.reopened(dir)
	w := r.o.Counts().Watermark
	if w > r.watermark || w < r.flushed {
		r.Fatalf("watermark %d after a crash, want %d to %d", w, r.flushed, r.watermark)
	}
	r.watermark = w
}

// reopened: leases are in memory only; after a crash nothing waits, and attempts
// and the duplicate counter may be behind.
func (r *modelRun) reopened(dir string) {
	r.open(dir)
	for i := range r.events {
		e := &r.events[i]
		e.waiting = false
		e.leasedUntil = time.Time{}
		n, _ := r.o.index.Attempt(uint64(i + 1))
		e.attempts, e.notBefore = n.Attempts, n.At.Add(n.Delay) // what a crash may forget of it is tested elsewhere
	}
	r.duplicate = r.o.Counts().Duplicate
	for id := range r.ids {
		r.dropped[id] = true
	}
	clear(r.ids)
	for _, rec := range all(r, r.o, Filter{}) {
		id := string(rec.Event.Waybill) + "/" + rec.Event.EventID
		r.ids[id] = true
		delete(r.dropped, id)
	}
}

// scan: whatever is not finished must be there, and everything that is there
// must be right.
func (r *modelRun) scan() {
	seen := map[uint64]bool{}
	for _, rec := range all(r, r.o, Filter{}) {
		seq := rec.ID.Seq
		e := r.event(seq)
		if seen[seq] || rec.State != r.model.state(seq) || rec.Event.EventID != e.id || rec.Event.ActionTime != e.action {
			r.Fatalf("scanned %d (again: %t): %+v, want %s %+v", seq, seen[seq], rec.State, r.model.state(seq), e)
		}
		if rec.State == event.Dead && (rec.Attempts != 3 || rec.Last.RID != "r" || rec.FinishedAt.IsZero()) {
			r.Fatalf("dead letter %d came back as %+v", seq, rec)
		}
		seen[seq] = true
	}
	for i := range r.events {
		if seq := uint64(i + 1); !seen[seq] && (!r.model.state(seq).Finished() || r.event(seq).outcome == event.Dead) {
			r.Fatalf("%d is gone: %+v", seq, r.events[i])
		}
	}
	dead := event.Dead
	if got := all(r, r.o, Filter{State: &dead}); len(got) != len(r.deadSeqs()) {
		r.Fatalf("%d dead letters, want %d", len(got), len(r.deadSeqs()))
	}
}

// look finds all that is pending or dead of a waybill, and what is newer than one of
// its events.
func (r *modelRun) look() {
	w := fmt.Sprintf("W%d", r.rnd.IntN(12))
	records, err := r.o.OfWaybills([]scan.WaybillID{scan.WaybillID(w)}, len(r.events)+1)
	if err != nil {
		r.Fatal(err)
	}
	found := seqsOf(records)
	if !slices.IsSorted(found) {
		r.Fatalf("%v of %s are not in order", found, w)
	}
	var t event.Later
	for i := len(r.events) - 1; i >= 0; i-- {
		e, seq := &r.events[i], uint64(i+1)
		switch {
		case e.waybill != w && slices.Contains(found, seq):
			r.Fatalf("%d is of %s, not of %s", seq, e.waybill, w)
		case e.waybill != w || e.outcome.Finished() && e.outcome != event.Dead:
			continue
		case !slices.Contains(found, seq):
			r.Fatalf("%d of %s was not found: %v", seq, w, found)
		case e.outcome == event.Dead:
			continue
		}
		if at, ok, err := r.o.Newer(scan.WaybillID(w), seq); err != nil || e.retriedAt.IsZero() && (ok != t.Known || at != t.Action) {
			r.Fatalf("newer than %d of %s: %d %t %v, want %v", seq, w, at, ok, err, t)
		}
		t.Add(e.action)
	}
}

// retire lets everything finished become too old to keep.
func (r *modelRun) retire() {
	r.clock.advance(200 * time.Hour)
	r.restart() // a start looks for what is too old at once
}

func (r *modelRun) check() {
	r.Helper()
	c := r.o.Counts()
	checkSum(r.T, c)
	var want [event.NumStates]uint64
	r.expire(r.clock.Now())
	for i := range r.events {
		want[r.model.state(uint64(i+1))]++
	}
	r.o.Due() // ends what ran out
	checkIndex(r.T, r.o)
	r.checkSure()
	c = r.o.Counts()
	if c.State != want {
		r.Errorf("states %v, want %v", c.State, want)
	}
	if c.Received != uint64(len(r.events)) || c.Settled != r.model.settled || c.Requeued != r.model.requeued || c.Duplicate != r.duplicate {
		r.Errorf("counts %+v, want %d received, settled %v, %d requeued, %d duplicate",
			c, len(r.events), r.model.settled, r.model.requeued, r.duplicate)
	}
}

// checkSure holds that of a waybill that may be leased at once nothing earlier is
// on disk only.
func (r *modelRun) checkSure() {
	r.Helper()
	for i := range r.events {
		seq := uint64(i + 1)
		first, sure := r.o.index.First(scan.WaybillID(r.events[i].waybill))
		if pending, _ := r.o.index.Stands(seq); sure && seq < first && pending {
			r.Errorf("%d is pending before %d, of which nothing should be", seq, first)
		}
	}
}
