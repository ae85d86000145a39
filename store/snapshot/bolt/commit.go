package bolt

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/queue"
)

// groupEvents bounds a group.
const groupEvents = 20_000

// Merge implements [snapshot.Store].
func (s *Store) Merge(ctx context.Context, b snapshot.Batch) (snapshot.Merged, error) {
	// Where the log can only be read nobody knows whether what it shows is on disk.
	if len(b.Events) == 0 && len(b.Bindings) == 0 && !s.readOnly.Load() {
		d, _ := lookIn(&s.tail, s.tail.Depots, b.Depot)
		return snapshot.Merged{Have: d.Effective(b.Epoch, b.NextSeq)}, s.usable()
	}
	return s.queue.Merge(ctx, b)
}

// Import implements [snapshot.Store].
func (s *Store) Import(ctx context.Context, items []snapshot.Import) (snapshot.Imported, error) {
	return s.queue.Import(ctx, items)
}

// commitLoop is the committer: the only one who writes the log and adds to the
// tail.
func (s *Store) commitLoop() {
	for {
		var group []*queue.Request
		again := false
		select {
		case r := <-s.queue.Requests:
			group = s.queue.Gather(r)
		case c := <-s.cuts:
			c.open(s)
			continue
		case <-s.renew:
			s.trimLog()
			continue
		case <-s.askAgain:
			again = true
		case <-s.life.Done():
			return
		}
		err := s.waitForRoom()
		if err == nil {
			err = s.commit(group, again)
		}
		if again && err != nil && s.usable() == nil {
			s.tell(&s.unasked, "ask depots to send again: trying again", err)
			wait.Sleep(s.life, time.Second)
			wait.Signal(s.askAgain)
		}
		for _, r := range group {
			r.Err = cmp.Or(r.Err, err)
			r.Settle()
		}
	}
}

// waitForRoom waits while the merger is too far behind.
func (s *Store) waitForRoom() error {
	for s.tail.lastNumber()-s.merged.Load() > s.o.MaxTail {
		wait.Signal(s.merge)
		select {
		case <-s.drained:
		case <-s.life.Done():
			return s.usable()
		}
	}
	return nil
}

// commit judges a group, syncs its records and publishes it. After an error
// nothing of it is seen. Calls that ask for what is damaged are left out.
func (s *Store) commit(group []*queue.Request, again bool) error {
	if s.readOnly.Load() {
		err := s.reopenLog()
		if s.block(err); err != nil {
			return err
		}
	}
	l, err := s.load(group)
	if err != nil {
		return fmt.Errorf("read %s: %w", waybillsName, err)
	}
	if again {
		s.tail.mu.RLock()
		l.facts.Depots = maps.Clone(s.tail.Depots)
		s.tail.mu.RUnlock()
	}
	first := s.tail.lastNumber() + 1
	g := judge.NewGroup(l.facts, s.phoneSecret, first)
	now := s.o.Now()
	if again {
		g.Again(now)
	}
	for _, r := range group {
		if r.Err = l.damaged(&r.Call); r.Err == nil {
			if r.Out = g.Judge(&r.Call, now); r.Out.Lost {
				s.hear(r.Batch.Depot, l.facts.Depots[r.Batch.Depot], now)
			}
		}
	}
	if len(g.Records) > 0 || s.unkept {
		if err := s.write(first, g.Records); err != nil {
			return err
		}
	}
	if again {
		s.again.Store(first)
	}
	s.tail.publish(g.Changed, first+uint64(len(g.Records))-1)
	if s.tail.lastNumber()-s.merged.Load() >= s.o.MergeRecords {
		wait.Signal(s.merge)
	}
	return nil
}

// loaded is what a group is judged on.
type loaded struct {
	facts judge.Facts
	bad   map[scan.WaybillID]error // what cannot be read
}

// damaged tells that a call cannot be judged before something is mended.
func (l *loaded) damaged(c *judge.Call) error {
	if len(l.bad) == 0 {
		return nil
	}
	for _, id := range judge.Needed([]*judge.Call{c}).Waybills {
		if err := l.bad[id]; err != nil {
			return err
		}
	}
	return nil
}

// load reads what a group must be judged on.
func (s *Store) load(group []*queue.Request) (*loaded, error) {
	calls := make([]*judge.Call, len(group))
	for i, r := range group {
		calls[i] = &r.Call
	}
	keys := judge.Needed(calls)
	return steady(context.Background(), s, func(r *boltpage.Finder) (*loaded, error) {
		f := judge.NewFacts()
		l := &loaded{facts: f, bad: map[scan.WaybillID]error{}}
		for _, id := range keys.Waybills {
			mother := l.read(s, r, id).MotherID()
			if l.read(s, r, mother); l.bad[mother] != nil {
				l.bad[id] = l.bad[mother]
			}
		}
		kept := answers{s: s, r: r}
		for _, n := range keys.Numbers {
			if k, ok := kept.find(n); ok {
				f.Answers[n] = k
			}
		}
		for _, id := range keys.Depots {
			f.Depots[id], _ = lookIn(&s.tail, s.tail.Depots, id)
		}
		for _, p := range judge.Phones(calls, f, s.phoneSecret) {
			if b, ok := s.binding(r, p); ok {
				f.Bindings[p] = b
			}
		}
		return l, nil
	})
}

// read reads a waybill, unless it was read.
func (l *loaded) read(s *Store, r *boltpage.Finder, id scan.WaybillID) *judge.State {
	st, read := l.facts.Waybills[id]
	if !read && id != "" {
		var err error
		if st, err = s.unopened(r, id); err != nil {
			l.bad[id] = err
		}
		l.facts.Waybills[id] = st
	}
	return st
}
