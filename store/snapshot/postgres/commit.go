package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/queue"
)

// groupEvents bounds what is judged and written at once.
const groupEvents = 5_000

// How long a group is tried where the database is away, and in all: a depot waits
// for its answer.
const (
	patience    = 2 * time.Second
	commitLimit = 25 * time.Second
)

// Merge implements [snapshot.Store].
func (s *Store) Merge(ctx context.Context, b snapshot.Batch) (snapshot.Merged, error) {
	if len(b.Events) == 0 && len(b.Bindings) == 0 {
		l, err := s.read(ctx, judge.Keys{Depots: []scan.DepotID{b.Depot}})
		if err != nil {
			return snapshot.Merged{}, fmt.Errorf("read what the depot sent: %w", err)
		}
		return snapshot.Merged{Have: l.Depots[b.Depot].Effective(b.Epoch, b.NextSeq)}, nil
	}
	return s.queue.Merge(ctx, b)
}

// Import implements [snapshot.Store].
func (s *Store) Import(ctx context.Context, items []snapshot.Import) (snapshot.Imported, error) {
	return s.queue.Import(ctx, items)
}

// commitLoop is the committer: the only one of this process who writes events.
func (s *Store) commitLoop() {
	for {
		select {
		case r := <-s.queue.Requests:
			group := s.queue.Gather(r)
			s.commit(group)
			for _, r := range group {
				r.Settle()
			}
		case <-s.life.Done():
			return
		}
	}
}

// commit answers a group. Where the database refuses it for what is in it, each
// call is tried alone, so that one that cannot be taken harms no other.
func (s *Store) commit(group []*queue.Request) {
	err := s.tryGroup(group)
	if err != nil && len(group) > 1 && !away(err) && !overtaken(err) && !errors.Is(err, errHeld) {
		for _, r := range group {
			one := []*queue.Request{r}
			s.settle(one, s.tryGroup(one))
		}
		return
	}
	s.settle(group, err)
}

// settle gives a group its end. What it may have gained, and nobody was told as the
// database's answer was lost, is told with the next that is taken: depots wait for
// word of it.
func (s *Store) settle(group []*queue.Request, err error) {
	for _, r := range group {
		if r.Err = err; err != nil {
			r.Out = snapshot.Merged{}
			s.untold = union(s.untold, r.Gained)
			continue
		}
		r.Out.Gained = union(union(r.Out.Gained, r.Gained), s.untold)
		s.untold = nil
	}
	if extra := len(s.untold) - maxUntold; extra > 0 {
		s.untold = slices.Delete(s.untold, 0, extra)
	}
	if err != nil && away(err) {
		s.tell("write to the database", err)
	}
}

const maxUntold = 100_000

// union adds to a list what it does not have yet.
func union(list, more []scan.WaybillID) []scan.WaybillID {
	if len(more) == 0 {
		return list
	}
	has := make(map[scan.WaybillID]bool, len(list)+len(more))
	for _, id := range list {
		has[id] = true
	}
	for _, id := range more {
		if !has[id] {
			has[id], list = true, append(list, id)
		}
	}
	return list
}

// tryGroup judges and writes a group until it is written or refused.
func (s *Store) tryGroup(group []*queue.Request) error {
	ctx, cancel := context.WithTimeout(s.life, commitLimit)
	defer cancel()
	began := time.Now()
	for n := 0; ; n++ {
		err := s.once(ctx, group)
		switch {
		case err == nil:
			return nil
		case s.usable() != nil:
			return s.usable()
		case errors.Is(err, errHeld):
			return err
		case (overtaken(err) || s.missedKey(ctx, err)) && ctx.Err() == nil:
		case away(err) && time.Since(began) < patience:
			s.dead(err)
		default:
			return err
		}
		wait.Sleep(ctx, wait.Jitter(n, 5*time.Millisecond, 500*time.Millisecond))
	}
}

// once judges a group on what it reads and writes what came of it.
func (s *Store) once(ctx context.Context, group []*queue.Request) error {
	if err := s.newKey(ctx); err != nil {
		return err
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	calls := make([]*judge.Call, len(group))
	for i, r := range group {
		calls[i] = &r.Call
	}
	var commits string
	l, err := s.load(ctx, conn.Conn(), judge.Needed(calls), func(b *pgx.Batch) {
		b.Queue(sqlCommits).QueryRow(func(row pgx.Row) error { return row.Scan(&commits) })
	})
	if err == nil {
		err = s.durable(commits)
	}
	if err == nil {
		var b pgx.Batch
		l.askBindings(&b, judge.Phones(calls, l.Facts, s.phoneSecret))
		err = send(ctx, conn.Conn(), &b)
	}
	if err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	now := s.o.Now()
	// Numbers of records rise for each state they are in, and no two groups share one.
	first := max(l.newest, now.UnixMicro()) + 1
	g := judge.NewGroup(l.Facts, s.phoneSecret, uint64(first))
	for _, r := range group {
		if r.Out = g.Judge(&r.Call, now); r.Out.Lost {
			if err := s.hear(ctx, r.Batch.Depot, l.Depots[r.Batch.Depot], now); err != nil {
				return fmt.Errorf("keep what a depot says is missing: %w", err)
			}
		}
	}
	w := writes{loaded: l, Facts: g.Changed, version: first + int64(len(g.Records))}
	if err := send(ctx, conn.Conn(), w.batch()); err != nil {
		for _, r := range group {
			if codeOf(err) == "" { // nobody knows what came of it
				r.Gained = union(r.Gained, r.Out.Gained)
			}
		}
		return fmt.Errorf("write the snapshot: %w", err)
	}
	for id, st := range g.Changed.Waybills {
		s.cache.put(id, entry{state: st, version: w.version})
	}
	return nil
}

// writes are what a group changes.
type writes struct {
	*loaded
	judge.Facts       // changed
	version     int64 // of all that is written: no lower than the number of any record in it
}

// batch is one transaction: all of it is written, or nothing.
func (w *writes) batch() *pgx.Batch {
	b := &pgx.Batch{}
	w.putDepots(b)
	w.putWaybills(b)
	w.putAside(b)
	w.putAnswers(b)
	w.putBindings(b)
	return b
}

func (w *writes) putDepots(b *pgx.Batch) {
	var depots []string
	var epochs [][]byte
	var was []int64
	for id, d := range w.Facts.Depots {
		depots, epochs, was = append(depots, string(id)), append(epochs, encodeNumbering(id, d)), append(was, w.depots[id])
	}
	if len(depots) > 0 {
		b.Queue(sqlPutDepots, w.version, depots, epochs, was)
	}
}

// putWaybills writes with a mother the parcels that were read for it: that they are
// its own is what was judged on.
func (w *writes) putWaybills(b *pgx.Batch) {
	for id, st := range w.loaded.Waybills {
		if _, changed := w.Facts.Waybills[st.MotherID()]; changed && w.Facts.Waybills[id] == nil {
			w.Facts.Waybills[id] = st
		}
	}
	var ids []string
	var states [][]byte
	var due []int32
	var was []int64
	for id, st := range w.Facts.Waybills {
		ids, states = append(ids, string(id)), append(states, w.s.encodeState(id, st))
		due, was = append(due, hourOf(st.Changed)), append(was, w.waybills[id])
	}
	if len(ids) > 0 {
		b.Queue(sqlPutWaybills, w.version, ids, states, due, was)
	}
}

func (w *writes) putAnswers(b *pgx.Batch) {
	n := len(w.Facts.Answers)
	if n == 0 {
		return
	}
	depots, epochs, seqs := make([]string, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	idents, results, at, due := make([]int64, 0, n), make([]int16, 0, n), make([]int64, 0, n), make([]int32, 0, n)
	for number, k := range w.Facts.Answers {
		depots, epochs, seqs = append(depots, string(number.Depot)), append(epochs, int64(number.Epoch)), append(seqs, int64(number.Seq))
		idents, results = append(idents, int64(k.Ident)), append(results, int16(k.Result))
		at, due = append(at, k.At), append(due, hourOf(k.At))
	}
	b.Queue(sqlPutAnswers, depots, epochs, seqs, idents, results, at, due)
}

func (w *writes) putBindings(b *pgx.Batch) {
	var phones [][]byte
	var bound []bool
	var at []int64
	var due []int32
	for phone, v := range w.Facts.Bindings {
		phones, bound = append(phones, slices.Clone(phone[:])), append(bound, v.Exist)
		at, due = append(at, v.At), append(due, hourOf(v.At))
	}
	if len(phones) > 0 {
		b.Queue(sqlPutBindings, phones, bound, at, due, w.s.latest())
	}
}

// latest is the latest time, in unix seconds, that a binding may have been seen at: a
// process' clock may be ahead.
func (s *Store) latest() int64 { return s.o.Now().Unix() + 24*3600 }

// hourOf is the hour under which something is looked at again, to be forgotten.
func hourOf(at int64) int32 { return int32(max(at, 0) / 3600) }
