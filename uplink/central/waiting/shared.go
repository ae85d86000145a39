package waiting

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/snapshot"
)

// Table is where several processes of a centre keep who waits. It may be called by many at
// once, and its time is its own.
type Table interface {
	// DeclareWaiting notes that a depot waits, up to so many of its own in all, and returns how
	// many found no room.
	DeclareWaiting(ctx context.Context, depot string, ids []string, most int) (dropped int, err error)
	// WaitingArrived notes that data has come, and returns the depots that waited for some.
	WaitingArrived(ctx context.Context, ids []string) (depots []string, err error)
	// WaitingReady lists up to most waybills of a depot whose data has come, and forgets those
	// that were listed so many times.
	WaitingReady(ctx context.Context, depot string, most, times int) ([]string, error)
	WaitingWoken(ctx context.Context, depot string, ids []string) error
	// WaitingNow returns the depots that are to be told something, and the name of the
	// table's life.
	WaitingNow(ctx context.Context) (depots []string, life string, err error)
	WaitingCounts(ctx context.Context) (all, ready int, err error)
	// SweepWaiting forgets some of what was not declared for so long, and of the oldest as
	// many as are too many.
	SweepWaiting(ctx context.Context, life time.Duration, tooMany int) (dropped int, more bool, err error)
	Lease(ctx context.Context, name string, life time.Duration) (bool, error)
}

const (
	// lookEvery is how often it is looked for what another process has for depots.
	lookEvery  = 2 * time.Second
	sweepEvery = 10 * time.Second
	// maxMissed bounds what has come and could not be noted.
	maxMissed = 100_000
)

// Shared is what all processes of a centre know of who waits. Make it with Among, and Run it.
type Shared struct {
	table Table
	log   *slog.Logger
	told  wait.Rarely

	mu     sync.Mutex // guards what follows
	life   string
	ready  map[scan.DepotID]bool // depots that are to be told something, as far as is known here
	fresh  map[scan.DepotID]bool // of these, since the table began to be read
	missed []scan.WaybillID      // what has come, and is not in the table
	counts Counts
}

// Among makes the view of one process.
func Among(table Table, log *slog.Logger) *Shared {
	return &Shared{table: table, log: log, told: wait.Rarely{Every: time.Minute}, ready: map[scan.DepotID]bool{}, fresh: map[scan.DepotID]bool{}}
}

// Life names what is kept: it is another one when declarations may be lost.
func (s *Shared) Life(ctx context.Context) (string, error) {
	s.mu.Lock()
	life := s.life
	s.mu.Unlock()
	if life != "" {
		return life, nil
	}
	if err := s.look(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life, nil
}

// Declare notes that a depot waits for data, as far as there is room.
func (s *Shared) Declare(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) error {
	sound := slices.DeleteFunc(texts(ids), func(id string) bool { return snapshot.BadID(scan.WaybillID(id)) != "" })
	if len(sound) == 0 {
		return nil
	}
	dropped, err := s.table.DeclareWaiting(ctx, string(depot), sound, MaxOfDepot)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Dropped += uint64(dropped)
	return err
}

func texts(ids []scan.WaybillID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

// Arrived notes that the data of these waybills has come. Where the table does not take it
// now, it is noted once it does: what has come is told here once only.
func (s *Shared) Arrived(ctx context.Context, ids ...scan.WaybillID) error {
	if len(ids) == 0 {
		return nil
	}
	depots, err := s.table.WaitingArrived(ctx, texts(ids))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.missed = append(s.missed, ids[:min(len(ids), maxMissed-len(s.missed))]...)
	}
	for _, d := range depots {
		s.ready[scan.DepotID(d)], s.fresh[scan.DepotID(d)] = true, true
	}
	return nil
}

func (s *Shared) isReady(depot scan.DepotID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready[depot]
}

// Ready lists up to most waybills of a depot whose data has come.
func (s *Shared) Ready(ctx context.Context, depot scan.DepotID, most int) ([]scan.WaybillID, error) {
	if !s.isReady(depot) {
		return nil, nil
	}
	ids, err := s.table.WaitingReady(ctx, string(depot), most, ReadyTimes)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ready, depot)
		return nil, nil
	}
	out := make([]scan.WaybillID, len(ids))
	for i, id := range ids {
		out[i] = scan.WaybillID(id)
	}
	return out, nil
}

// Woken notes that a depot asks for these again: it has heard. A depot of which nothing is
// known to be ready may ask for what another process told it just now: then it is told again.
func (s *Shared) Woken(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) error {
	if len(ids) == 0 || !s.isReady(depot) {
		return nil
	}
	return s.table.WaitingWoken(ctx, string(depot), texts(ids))
}

// Counts tells how much waits, as it was a moment ago; what was dropped, by this process.
func (s *Shared) Counts(context.Context) (Counts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts, nil
}

// Run looks for what other processes have for depots, and forgets what is too old, until ctx
// ends.
func (s *Shared) Run(ctx context.Context) {
	for n := 0; wait.Sleep(ctx, lookEvery); n++ {
		err := s.look(ctx)
		if err == nil {
			s.again(ctx)
		}
		if err == nil && n%int(sweepEvery/lookEvery) == 0 {
			err = s.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			if more, due := s.told.Due(time.Now()); due {
				s.log.Error("look who waits for waybill data", "error", err, "failed_since_last_line", more)
			}
		}
	}
}

func (s *Shared) look(ctx context.Context) error {
	s.mu.Lock()
	s.fresh = map[scan.DepotID]bool{}
	s.mu.Unlock()
	depots, life, err := s.table.WaitingNow(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != "" && s.life != life {
		s.log.Warn("the database is another one than before, by a restore or a promotion: depots declare anew what they wait for")
	}
	s.life, s.ready = life, s.fresh
	for _, d := range depots {
		s.ready[scan.DepotID(d)] = true
	}
	s.fresh = map[scan.DepotID]bool{}
	return nil
}

// again notes what has come and could not be noted then.
func (s *Shared) again(ctx context.Context) {
	s.mu.Lock()
	missed := s.missed
	s.missed = nil
	s.mu.Unlock()
	for chunk := range slices.Chunk(missed, MaxOfDepot) {
		_ = s.Arrived(ctx, chunk...) // which keeps what fails
	}
}

func (s *Shared) sweep(ctx context.Context) error {
	all, ready, err := s.table.WaitingCounts(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.counts.Declared, s.counts.Ready = all-ready, ready
	s.mu.Unlock()
	ours, err := s.table.Lease(ctx, "waiting", 3*sweepEvery)
	for more := ours; more && err == nil; {
		var dropped int
		dropped, more, err = s.table.SweepWaiting(ctx, Life, all-maxDeclared)
		all -= dropped
		more = more || dropped > 0 && all > maxDeclared
		s.mu.Lock()
		s.counts.Dropped += uint64(dropped)
		s.mu.Unlock()
	}
	return err
}
