package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
)

var (
	bucketRejects = []byte("rejects")
	keyCounts     = []byte("counts")
)

// minQuarantine is the smallest file that a quarantine is given.
const minQuarantine = 256 << 10

// quarantine keeps what could not be understood, whole, in a file of its own
// that is bounded in size and count: the oldest makes way for the newest, and
// is counted. It never stops intake: where nothing can be written any more,
// what should have been kept is counted as forgotten.
type quarantine struct {
	path     string
	size     int64
	maxCount int
	log      *slog.Logger
	commit   func(*bolt.Tx) error
	cipher   *crypt.Cipher
	aside    string // what a damaged one was renamed to at this start

	db *bolt.DB // nil in a Reader without the file
	mu sync.Mutex
	quarantineCounts
	unsaved bool // the counts on disk are behind
}

// quarantineCounts is saved with the entries, so it always agrees with them.
type quarantineCounts struct {
	next      uint64 // number of the next entry; the first is 1
	count     int    // entries now
	bytes     int64  // what they take, about
	forgotten uint64 // entries dropped for room
}

func (q *quarantineCounts) store(b *bolt.Bucket) error {
	e := codec.NewEncoder(32)
	e.Uint(q.next)
	e.Uint(uint64(q.count))
	e.Uint(uint64(q.bytes))
	e.Uint(q.forgotten)
	return b.Put(keyCounts, e.Frame(keyCounts))
}

func (q *quarantineCounts) load(b *bolt.Bucket) error {
	d, err := codec.Decode(keyCounts, b.Get(keyCounts))
	if err != nil {
		return err
	}
	q.next, q.count, q.bytes, q.forgotten = d.Uint(), int(d.Uint()), int64(d.Uint()), d.Uint()
	return d.Done()
}

// add keeps rejects durably. Only a failure after which nothing can be trusted
// is an error.
func (q *quarantine) add(rejects []scan.Reject) error {
	if len(rejects) == 0 {
		return nil
	}
	err := q.tryAdd(rejects, q.size)
	if err != nil && boltpage.Retryable(err) {
		// Half of it makes way, in a commit of its own: what a commit frees
		// only the next one can use.
		if err = q.tryAdd(nil, q.size/2); err == nil {
			err = q.tryAdd(rejects, q.size)
		}
	}
	if err == nil || !boltpage.Retryable(err) {
		return err
	}
	q.log.Error("rejected messages cannot be kept for lack of room", "count", len(rejects), "error", err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next += uint64(len(rejects))
	q.forgotten += uint64(len(rejects))
	q.unsaved = true
	return nil
}

func (q *quarantine) tryAdd(rejects []scan.Reject, size int64) (err error) {
	defer boltpage.Recover(&err)
	tx, err := q.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin quarantine: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	counts := q.counts()
	b := tx.Bucket(bucketRejects)
	salt := crypt.NewSalt()
	for i := range rejects {
		key := codec.Key(counts.next)
		value := q.cipher.Encrypt(crypt.RejectRecord, key, salt, encodeReject(&rejects[i]))
		if err := b.Put(key, value); err != nil {
			return fmt.Errorf("put reject: %w", err)
		}
		counts.next++
		counts.count++
		counts.bytes += cost(value)
	}
	if err := counts.shrink(b, size, q.maxCount); err != nil {
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
	q.unsaved = false
	return nil
}

// shrink drops the oldest entries until the bounds hold. A quarter of the file
// is left to the tree and to pages that are not free yet.
func (q *quarantineCounts) shrink(b *bolt.Bucket, size int64, maxCount int) error {
	c := b.Cursor()
	for k, v := c.First(); k != nil && (q.bytes > size/4*3 || q.count > maxCount); k, v = c.First() {
		q.bytes -= cost(v)
		q.count--
		q.forgotten++
		if err := c.Delete(); err != nil {
			return fmt.Errorf("drop oldest reject: %w", err)
		}
	}
	return nil
}

// cost is what a value takes in the file: what does not share a page gets
// pages of its own.
func cost(value []byte) int64 {
	n := int64(len(value) + 64)
	if n > boltpage.PageSize/2 {
		n = (n + boltpage.PageSize - 1) / boltpage.PageSize * boltpage.PageSize
	}
	return n
}

func (q *quarantine) counts() quarantineCounts {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.quarantineCounts
}

// each gives all entries to fn, oldest first, in short transactions.
func (q *quarantine) each(ctx context.Context, fn func(Quarantined) error) error {
	if q.db == nil {
		return nil
	}
	for next := uint64(0); ; {
		part, err := q.part(next)
		if err != nil || len(part) == 0 {
			return err
		}
		for _, entry := range part {
			if err := fn(entry); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		next = part[len(part)-1].Seq + 1
	}
}

func (q *quarantine) part(from uint64) (part []Quarantined, err error) {
	err = boltpage.Guard(func() error {
		return q.db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketRejects).Cursor()
			bytes := 0
			for k, v := c.Seek(codec.Key(from)); k != nil && bytes < 1<<20; k, v = c.Next() {
				var r scan.Reject
				body, err := q.cipher.Decrypt(crypt.RejectRecord, k, v, nil)
				if err == nil {
					r, err = decodeReject(body)
				}
				if err != nil {
					r = scan.Reject{Index: -1, Code: "damaged", Reason: "the entry cannot be read from disk"}
				}
				part = append(part, Quarantined{Seq: codec.Seq(k), Reject: r})
				bytes += len(v)
			}
			return nil
		})
	})
	return part, err
}

func (q *quarantine) close() error {
	if q.db == nil {
		return nil
	}
	if q.unsaved {
		if err := q.tryAdd(nil, q.size); err != nil {
			q.log.Error("counts of the quarantine cannot be saved", "error", err)
		}
	}
	return q.db.Close()
}

// Quarantine gives everything in quarantine to fn, oldest first.
func (o *Outbox) Quarantine(ctx context.Context, fn func(Quarantined) error) error {
	if err := o.suspect.each(ctx, fn); err != nil {
		return fmt.Errorf("read quarantine: %w", err)
	}
	return nil
}
