package store

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

var stressRuns = flag.Int("stress.runs", 3, "runs of everybody at once")

// stress is everybody at once on an outbox that holds hardly anything: what each
// waybill is leased is its first pending event at any time, and in the end
// everything is finished.
type stress struct {
	*testing.T
	o     *Outbox
	clock *testClock
	n     int

	mu    sync.Mutex
	over  map[uint64]bool // finished, or about to be by the centre
	of    map[scan.WaybillID][]uint64
	ended int
}

func TestStress(t *testing.T) {
	t.Parallel()
	for seed := range storetest.Rounds(*stressRuns, 1) {
		runStress(t, uint64(seed))
	}
}

func runStress(t *testing.T, seed uint64) {
	c := newTestClock()
	s := &stress{T: t, clock: c, n: 800, over: map[uint64]bool{}, of: map[scan.WaybillID][]uint64{}}
	s.o = open(t, fastDir(t), paged(c, 8+int(seed)%10*8))
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	var others sync.WaitGroup
	others.Go(func() { s.appends(ctx, rand.New(rand.NewPCG(seed, 1))) })
	others.Go(func() { s.syncs(ctx, rand.New(rand.NewPCG(seed, 2))) })
	others.Go(func() { s.wakes(ctx, rand.New(rand.NewPCG(seed, 3))) })
	others.Go(func() { s.looks(ctx, rand.New(rand.NewPCG(seed, 4))) })
	s.pushes(ctx, rand.New(rand.NewPCG(seed, 5)))
	if ctx.Err() != nil {
		t.Errorf("seed %d: %d of %d finished: %+v", seed, s.ended, s.n, s.o.Counts())
	}
	stop()
	others.Wait()
	checkIndex(t, s.o)
	closeChecked(t, s.o)
}

func (s *stress) waybill(rnd *rand.Rand) scan.WaybillID {
	return scan.WaybillID(fmt.Sprint("W", rnd.IntN(60)))
}

func (s *stress) appends(ctx context.Context, rnd *rand.Rand) {
	for i := 0; i < s.n && ctx.Err() == nil; {
		var b scan.Batch
		s.mu.Lock()
		for range min(1+rnd.IntN(8), s.n-i) {
			i++
			w := s.waybill(rnd)
			b.Events = append(b.Events, padded(string(w), fmt.Sprint("e", i), 1795000000+int64(i), rnd.IntN(4000)))
			s.of[w] = append(s.of[w], uint64(i))
		}
		s.mu.Unlock()
		if _, err := s.o.Append(ctx, b); err != nil && ctx.Err() == nil {
			s.Error(err)
		}
	}
}

func (s *stress) syncs(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil {
		c := s.o.Counts()
		if rnd.IntN(20) == 0 {
			if err := s.o.Rewind(c.Watermark - min(c.Watermark, uint64(rnd.IntN(300)))); err != nil && ctx.Err() == nil {
				s.Error(err)
			}
			continue
		}
		recs, err := s.o.Unsynced(1+rnd.IntN(60), 1<<20)
		if err != nil || len(recs) == 0 {
			continue
		}
		var ended []event.Settlement
		var waiting []uint64
		s.mu.Lock()
		for _, r := range recs {
			switch n := rnd.IntN(20); {
			case r.Ended:
			case n == 0:
				ended = append(ended, event.Settlement{Seq: r.ID.Seq, Outcome: event.Superseded})
				s.over[r.ID.Seq] = true // or soon; unless it is leased just now
			case n < 6:
				waiting = append(waiting, r.ID.Seq)
			}
		}
		s.mu.Unlock()
		if err := s.o.Synced(recs[len(recs)-1].ID.Seq, ended, waiting); err != nil && ctx.Err() == nil {
			s.Error(err)
		}
	}
}

func (s *stress) wakes(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil {
		if err := s.o.Wake(s.waybill(rnd), s.waybill(rnd)); err != nil && ctx.Err() == nil {
			s.Error(err)
		}
	}
}

func (s *stress) looks(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil {
		_, _, err := s.o.Newer(s.waybill(rnd), uint64(rnd.IntN(s.n)))
		if err == nil {
			_, err = s.o.OfWaybills([]scan.WaybillID{s.waybill(rnd)}, 50)
		}
		if err == nil {
			_, err = s.o.Waiting(5, uint64(rnd.IntN(s.n)))
		}
		if err != nil && ctx.Err() == nil {
			s.Error(err)
		}
		s.o.Due()
	}
}

func (s *stress) pushes(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil && !s.Failed() {
		recs, err := s.o.Lease(1+rnd.IntN(12), time.Minute)
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range recs {
			s.first(r)
		}
		for _, r := range recs {
			s.push(ctx, rnd, r)
		}
		if len(recs) > 0 {
			continue
		}
		s.clock.advance(20 * time.Second)
		if _, err := s.o.Requeue(ctx, s.o.DeadIDs()...); err != nil && ctx.Err() == nil {
			s.Error(err)
		}
		c := s.o.Counts()
		if done := c.Received - c.State[event.Unsynced] - c.State[event.AwaitingWaybill] - c.State[event.ToPush] - c.State[event.Dead]; done == uint64(s.n) {
			return
		}
	}
}

// first holds that nothing of the record's waybill comes before it.
func (s *stress) first(r event.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seq := range s.of[r.Event.Waybill] {
		if seq < r.ID.Seq && !s.over[seq] {
			s.Errorf("%d of %s leased before %d", r.ID.Seq, r.Event.Waybill, seq)
		}
	}
}

func (s *stress) push(ctx context.Context, rnd *rand.Rand, r event.Record) {
	seq := r.ID.Seq
	switch n := rnd.IntN(12); {
	case n == 0:
		if err := s.o.Park(r); err != nil {
			s.Error(err)
		}
	case n == 1:
		if err := s.o.Release(event.Retry{Seq: seq, At: s.clock.Now().Add(time.Duration(rnd.IntN(40)) * time.Second), Attempts: r.Attempts + 1}); err != nil {
			s.Error(err)
		}
	default:
		outcome := event.Pushed
		if n == 2 {
			outcome = event.Dead
		}
		if err := s.o.Settle(ctx, []event.Settlement{{Seq: seq, Outcome: outcome}}); err != nil && ctx.Err() == nil {
			s.Error(err)
		}
		s.mu.Lock()
		s.over[seq] = true
		s.mu.Unlock()
	}
}
