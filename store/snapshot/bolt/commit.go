package bolt

import (
	"context"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// request is one caller's part of a group.
type request struct {
	judge.Call
	out  snapshot.Merged
	err  error
	done chan struct{}
}

// Bounds of a group and of what one commit deletes from the log's prefix.
const (
	groupEvents  = 20_000
	truncateMost = 5_000
)

// Merge implements [snapshot.Store].
func (s *Store) Merge(ctx context.Context, b snapshot.Batch) (snapshot.Merged, error) {
	if len(b.Events) == 0 && len(b.Bindings) == 0 {
		d, _ := lookIn(&s.tail, s.tail.Depots, b.Depot)
		return snapshot.Merged{Have: d.Effective(b.Epoch, b.NextSeq)}, s.usable()
	}
	out, err := s.submit(ctx, judge.Call{Batch: b})
	if err != nil {
		return snapshot.Merged{}, fmt.Errorf("merge batch: %w", err)
	}
	return out, nil
}

// Import implements [snapshot.Store].
func (s *Store) Import(ctx context.Context, items []snapshot.Import) ([]scan.WaybillID, error) {
	if len(items) == 0 {
		return nil, s.usable()
	}
	out, err := s.submit(ctx, judge.Call{Imports: items})
	if err != nil {
		return nil, fmt.Errorf("import waybill data: %w", err)
	}
	return out.Gained, nil
}

// submit hands a call to the committer and waits for its end. ctx ends the wait
// for the committer only.
func (s *Store) submit(ctx context.Context, c judge.Call) (snapshot.Merged, error) {
	if err := c.Check(); err != nil {
		return snapshot.Merged{}, err
	}
	if err := s.usable(); err != nil {
		return snapshot.Merged{}, err
	}
	r := &request{Call: c, done: make(chan struct{})}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return snapshot.Merged{}, ctx.Err()
	case <-s.life.Done():
		return snapshot.Merged{}, s.usable()
	}
	<-r.done // whatever ctx says: nobody is told twice what was gained
	return r.out, r.err
}

// commitLoop is the committer: the only one who writes the log and adds to the
// tail.
func (s *Store) commitLoop() {
	for {
		var group []*request
		select {
		case r := <-s.requests:
			group = s.gather(r)
		case <-s.truncate:
		case <-s.life.Done():
			return
		}
		err := s.waitForRoom()
		if err == nil {
			err = s.commit(group)
		}
		for _, r := range group {
			r.err = err
			close(r.done)
		}
	}
}

// gather takes whoever else waits: while one group is being synced the next one
// collects.
func (s *Store) gather(first *request) []*request {
	group, size := []*request{first}, first.Size()
	for size < groupEvents {
		select {
		case r := <-s.requests:
			group = append(group, r)
			size += r.Size()
		default:
			return group
		}
	}
	return group
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
// nothing of it is seen.
func (s *Store) commit(group []*request) error {
	facts, err := s.load(group)
	if err != nil {
		return fmt.Errorf("read %s: %w", waybillsName, err)
	}
	first := s.tail.lastNumber() + 1
	g := judge.NewGroup(facts, s.phoneSecret, first)
	now := s.o.Now()
	for _, r := range group {
		r.out = g.Judge(&r.Call, now)
	}
	if len(g.Records) > 0 || group == nil {
		if err := s.write(first, g.Records); err != nil {
			return err
		}
	}
	s.tail.publish(g.Changed, first+uint64(len(g.Records))-1)
	if s.tail.lastNumber()-s.merged.Load() >= s.o.MergeRecords {
		wait.Signal(s.merge)
	}
	return nil
}

// load reads what a group must be judged on.
func (s *Store) load(group []*request) (f judge.Facts, err error) {
	calls := make([]*judge.Call, len(group))
	for i, r := range group {
		calls[i] = &r.Call
	}
	keys := judge.Needed(calls)
	err = s.steady(context.Background(), func(tx *bbolt.Tx) {
		f = judge.NewFacts()
		for _, id := range keys.Waybills {
			if _, read := f.Waybills[id]; !read {
				f.Waybills[id] = s.state(tx, id)
			}
		}
		for _, n := range keys.Numbers {
			if k, ok := s.answer(tx, n); ok {
				f.Answers[n] = k
			}
		}
		for _, id := range keys.Depots {
			f.Depots[id], _ = lookIn(&s.tail, s.tail.Depots, id)
		}
		for _, p := range judge.Phones(calls, f, s.phoneSecret) {
			if b, ok := s.binding(tx, p); ok {
				f.Bindings[p] = b
			}
		}
	})
	return f, err
}

// write commits the records of a group and, in the same commit, deletes some of
// what is merged.
func (s *Store) write(first uint64, records []*judge.Record) error {
	more := false
	err := s.log.Update(func(tx *bbolt.Tx) error {
		log := tx.Bucket(bucketLog)
		log.FillPercent = 1 // keys only rise: pages are left full
		for i, r := range records {
			if err := log.Put(number(first+uint64(i)), encodeRecord(r)); err != nil {
				return err
			}
		}
		var err error
		more, err = s.cutPrefix(tx, len(records)+truncateMost)
		return err
	})
	switch {
	case err == nil:
	case boltpage.Retryable(err):
		return fmt.Errorf("write %s: %w", logName, err)
	default:
		return s.fail(err)
	}
	if more {
		wait.Signal(s.truncate)
	}
	return nil
}

// cutPrefix deletes up to most merged records, oldest first, and reports
// whether more are left. The keys are gathered before: a cursor would walk over
// the leaves that it has emptied again and again.
func (s *Store) cutPrefix(tx *bbolt.Tx, most int) (more bool, err error) {
	merged := s.merged.Load()
	log := tx.Bucket(bucketLog)
	c := log.Cursor()
	var last []byte
	var keys [][]byte
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) <= merged; k, _ = c.Next() {
		if more = len(keys) == most; more {
			break
		}
		last = number(binary.BigEndian.Uint64(k)) // a copy
		keys = append(keys, last)
	}
	for _, k := range keys {
		if err := log.Delete(k); err != nil {
			return false, err
		}
	}
	if last == nil {
		return false, nil
	}
	return more, tx.Bucket(bucketMeta).Put(metaTruncated, last)
}
