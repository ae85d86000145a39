package store

import (
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
)

// Replayed tells what became of the quarantine's entries in a Replay.
type Replayed struct {
	Entries   int // that were looked at
	Left      int // of them left the quarantine
	Events    int // newly stored from them
	Duplicate int // recognised, not stored again
	Ignored   int // reads in them that are none
	Remaining int // entries that are still not understood, wholly or in part
}

// replayEvents bounds the events of one commit of a Replay, about.
const replayEvents = 1000

// Replay gives each entry of the quarantine, the oldest first, to understand,
// which says what it comes to now; false: nothing better than before. The events
// of an entry are committed, then it leaves the quarantine, or what of it is
// still rejected takes its place. Between the two a crash leaves the entry where
// it was: its events must come out the same next time, by their own or a derived
// id and without a weak key, and are then duplicates. What comes into the
// quarantine meanwhile is not looked at.
func (o *Outbox) Replay(ctx context.Context, understand func(Quarantined) (scan.Batch, bool)) (r Replayed, err error) {
	end := o.suspect.counts().next
	for next := uint64(0); next < end && err == nil; {
		if err = ctx.Err(); err != nil {
			break
		}
		part, readErr := o.suspect.part(next)
		if readErr != nil || len(part) == 0 {
			err = readErr
			break
		}
		next = part[len(part)-1].Seq + 1
		one := replay{o: o, total: &r}
		for i := 0; i < len(part) && part[i].Seq < end && err == nil; i++ {
			one.take(part[i], understand)
			if len(one.batch.Events) >= replayEvents {
				err = one.commit()
			}
		}
		if err == nil {
			err = one.commit()
		}
	}
	if err != nil {
		return r, fmt.Errorf("replay quarantine: %w", err)
	}
	return r, nil
}

// replay is the part of a Replay that is committed at once.
type replay struct {
	o     *Outbox
	total *Replayed
	batch scan.Batch
	moves []move
}

// move takes an entry out of the quarantine; rest takes its place.
type move struct {
	seq  uint64
	rest []scan.Reject
}

func (r *replay) take(q Quarantined, understand func(Quarantined) (scan.Batch, bool)) {
	r.total.Entries++
	b, ok := understand(q)
	if !ok || len(b.Events) == 0 && len(b.Rejects) > 0 {
		r.total.Remaining++
		return
	}
	r.batch.Events = append(r.batch.Events, b.Events...)
	r.batch.Ignored += b.Ignored
	r.moves = append(r.moves, move{q.Seq, b.Rejects})
}

// commit stores the events and then moves the entries, both in the committer.
func (r *replay) commit() error {
	if len(r.moves) == 0 {
		return nil
	}
	batch, moves := r.batch, r.moves
	r.batch, r.moves = scan.Batch{}, nil
	done := make(chan error, 1)
	var stored scan.Stored
	err := r.o.Submit(batch, func(s scan.Stored, err error) {
		stored = s
		if err == nil {
			err = r.o.suspect.move(moves)
			if err != nil && !boltpage.Retryable(err) {
				r.o.fail(err)
			}
		}
		done <- err
	})
	if err == nil {
		err = <-done // the committer answers everything that it was given
	}
	if err != nil {
		return err
	}
	for _, m := range moves {
		if len(m.rest) > 0 {
			r.total.Remaining++
		} else {
			r.total.Left++
		}
	}
	r.total.Events += stored.Events
	r.total.Duplicate += stored.Duplicate
	r.total.Ignored += batch.Ignored
	return nil
}

// move takes entries out in one commit. Only the committer calls it.
func (q *quarantine) move(moves []move) (err error) {
	defer boltpage.Recover(&err)
	tx, err := q.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin quarantine: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	counts := q.counts()
	b := tx.Bucket(bucketRejects)
	for _, m := range moves {
		if err := counts.move(b, m, q.cipher); err != nil {
			return err
		}
	}
	if err := counts.shrink(b, q.size, q.maxCount); err != nil {
		return err
	}
	if err := counts.store(tx.Bucket(bucketState)); err != nil {
		return fmt.Errorf("put counts: %w", err)
	}
	if err := q.commit(tx); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.quarantineCounts = counts
	return nil
}

// move takes one entry out. One that made way for newer ones meanwhile is gone
// already, and counted.
func (q *quarantineCounts) move(b *bolt.Bucket, m move, cipher *crypt.Cipher) error {
	old := b.Get(codec.Key(m.seq))
	if old == nil {
		return nil
	}
	q.count--
	q.bytes -= cost(old)
	if err := b.Delete(codec.Key(m.seq)); err != nil {
		return fmt.Errorf("take out reject: %w", err)
	}
	seq := m.seq // the first of the rest is the same message; others are new ones
	for i := range m.rest {
		if i > 0 {
			seq = q.next
			q.next++
		}
		key := codec.Key(seq)
		value := cipher.Encrypt(crypt.RejectRecord, key, crypt.NewSalt(), encodeReject(&m.rest[i]))
		if err := b.Put(key, value); err != nil {
			return fmt.Errorf("put reject: %w", err)
		}
		q.count++
		q.bytes += cost(value)
	}
	return nil
}
