package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
)

// request is one caller's part of a group: a batch or an import.
type request struct {
	batch   *Batch
	imports []Import
	out     Merged
	err     error
	done    chan struct{}
}

func (r *request) size() int {
	if r.batch != nil {
		return len(r.batch.Events) + len(r.batch.Bindings)
	}
	return len(r.imports)
}

// Bounds of a group and of what one commit deletes from the log's prefix.
const (
	groupEvents  = 20_000
	truncateMost = 5_000
)

// Merge implements [Store].
func (b *Bolt) Merge(ctx context.Context, batch Batch) (Merged, error) {
	if len(batch.Events) == 0 && len(batch.Bindings) == 0 {
		return Merged{Have: b.tail.depot(batch.Depot).have(batch.Epoch, batch.NextSeq)}, b.usable()
	}
	if !batch.Depot.Valid() {
		return Merged{}, fmt.Errorf("merge batch: %q is no depot id", batch.Depot)
	}
	r := &request{batch: &batch, done: make(chan struct{})}
	if err := b.submit(ctx, r); err != nil {
		return Merged{}, fmt.Errorf("merge batch: %w", err)
	}
	return r.out, nil
}

// Import implements [Store].
func (b *Bolt) Import(ctx context.Context, items []Import) ([]scan.WaybillID, error) {
	if len(items) == 0 {
		return nil, b.usable()
	}
	for i := range items {
		if why := badWaybill(items[i].Waybill); why != "" {
			return nil, fmt.Errorf("import waybill data: item %d: %s", i, why)
		}
	}
	r := &request{imports: items, done: make(chan struct{})}
	if err := b.submit(ctx, r); err != nil {
		return nil, fmt.Errorf("import waybill data: %w", err)
	}
	return r.out.Gained, nil
}

// badWaybill tells why a number can be no key; "" if it can.
func badWaybill(id scan.WaybillID) string {
	switch {
	case id == "":
		return "waybill_id is missing"
	case len(id) > MaxWaybillID:
		return fmt.Sprintf("waybill_id is longer than %d bytes", MaxWaybillID)
	}
	return ""
}

func (b *Bolt) usable() error {
	if err := b.Err(); err != nil {
		return err
	}
	select {
	case <-b.closing:
		return ErrClosed
	default:
		return nil
	}
}

// submit hands a request to the committer and waits for its end.
func (b *Bolt) submit(ctx context.Context, r *request) error {
	if err := b.usable(); err != nil {
		return err
	}
	select {
	case b.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.closing:
		return ErrClosed
	case <-b.failed:
		return b.Err()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitLoop is the committer: the only one who writes the log and adds to the
// tail.
func (b *Bolt) commitLoop() {
	defer b.loops.Done()
	for {
		var group []*request
		select {
		case r := <-b.requests:
			group = b.gather(r)
		case <-b.truncate:
		case <-b.closing:
			return
		case <-b.failed:
			return
		}
		err := b.waitForRoom()
		if err == nil {
			err = b.commit(group)
		}
		for _, r := range group {
			r.err = err
			close(r.done)
		}
	}
}

// gather takes whoever else waits: while one group is being synced the next one
// collects.
func (b *Bolt) gather(first *request) []*request {
	group, size := []*request{first}, first.size()
	for size < groupEvents {
		select {
		case r := <-b.requests:
			group = append(group, r)
			size += r.size()
		default:
			return group
		}
	}
	return group
}

// waitForRoom waits while the merger is too far behind.
func (b *Bolt) waitForRoom() error {
	for b.tail.lastNumber()-b.merged.Load() > b.o.MaxTail {
		poke(b.merge)
		select {
		case <-b.drained:
		case <-b.closing:
			return ErrClosed
		case <-b.failed:
			return b.Err()
		}
	}
	return nil
}

// commit judges a group, syncs its records and publishes it. After an error
// nothing of it is seen.
func (b *Bolt) commit(group []*request) error {
	var s *stage
	err := b.steady(context.Background(), func(tx *bolt.Tx) {
		s = newStage(b, tx, b.tail.lastNumber()+1)
		b.judge(s, group)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", waybillsName, err)
	}
	s.tx = nil
	if len(s.records) > 0 || group == nil {
		if err := b.write(s); err != nil {
			return err
		}
	}
	s.publish()
	if b.tail.lastNumber()-b.merged.Load() >= b.o.MergeRecords {
		poke(b.merge)
	}
	return nil
}

func (b *Bolt) judge(s *stage, group []*request) {
	now := b.o.Now().Unix()
	for _, r := range group {
		j := judge{stage: s, batch: r.batch, now: now}
		if r.batch != nil {
			j.merge()
		}
		for i := range r.imports {
			j.takeData(r.imports[i].Waybill, &r.imports[i].Data, true)
		}
		r.out = j.out
	}
}

// write commits the records of a group and, in the same commit, deletes some of
// what is merged.
func (b *Bolt) write(s *stage) error {
	start, most := time.Now(), len(s.records)+truncateMost
	first := s.next - uint64(len(s.records))
	more := false
	err := b.log.Update(func(tx *bolt.Tx) error {
		log := tx.Bucket(bucketLog)
		log.FillPercent = 1 // append only (deps.md A3)
		for i, v := range s.records {
			if err := log.Put(number(first+uint64(i)), v); err != nil {
				return err
			}
		}
		var err error
		more, err = b.cutPrefix(tx, most)
		return err
	})
	switch {
	case err == nil:
	case harmless(err):
		return fmt.Errorf("write %s: %w", logName, err)
	default:
		b.fail(err)
		return b.Err()
	}
	if more {
		poke(b.truncate)
	}
	if len(s.records) > 0 {
		b.o.OnCommit(time.Since(start), len(s.records))
	}
	return nil
}

// cutPrefix deletes up to most merged records, oldest first, and reports
// whether more are left. The keys are gathered before: a cursor would walk over
// the leaves that it has emptied again and again.
func (b *Bolt) cutPrefix(tx *bolt.Tx, most int) (more bool, err error) {
	merged := b.merged.Load()
	log := tx.Bucket(bucketLog)
	c := log.Cursor()
	var numbers []uint64
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n := binary.BigEndian.Uint64(k)
		if n > merged {
			break
		}
		if more = len(numbers) == most; more {
			break
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		return false, nil
	}
	for _, n := range numbers {
		if err := log.Delete(number(n)); err != nil {
			return false, err
		}
	}
	return more, putNumber(tx.Bucket(bucketMeta), metaTruncated, numbers[len(numbers)-1])
}

// poke leaves a note in a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
