package quarantine

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
)

// Quarantine is the open file. The zero value is empty, and for reading only.
type Quarantine struct {
	path   string
	o      Options
	cipher *crypt.Cipher
	db     *bolt.DB       // open for writing
	tree   *boltpage.Tree // open for reading only; where both are nil there is no file

	mu      sync.Mutex
	counts  counts // guarded by mu
	unsaved bool   // those on disk are behind; the committer's
}

// Entry is one message that was rejected, or a part of one.
type Entry struct {
	Seq uint64
	scan.Reject
}

// Counts tell of all messages that were ever rejected.
type Counts struct {
	Rejected  uint64
	Kept      uint64 // entries now
	Forgotten uint64 // dropped for room
}

// Counts returns the counts at this moment.
func (q *Quarantine) Counts() Counts {
	c := q.now()
	return Counts{Rejected: max(c.next, 1) - 1, Kept: uint64(c.count), Forgotten: c.forgotten}
}

func (q *Quarantine) now() counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts
}

// Path returns where the file is.
func (q *Quarantine) Path() string { return q.path }

// Add keeps rejects durably. Only a failure after which nothing can be trusted
// is an error.
func (q *Quarantine) Add(rejects []scan.Reject) error {
	if len(rejects) == 0 {
		return nil
	}
	err := q.add(rejects, q.o.Size)
	if err != nil && boltpage.Retryable(err) {
		// Half of it makes way, in a commit of its own: what a commit frees
		// only the next one can use.
		if err = q.add(nil, q.o.Size/2); err == nil {
			err = q.add(rejects, q.o.Size)
		}
	}
	if err == nil || !boltpage.Retryable(err) {
		return err
	}
	q.o.Logger.Error("rejected messages cannot be kept for lack of room", "count", len(rejects), "error", err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.next += uint64(len(rejects))
	q.counts.forgotten += uint64(len(rejects))
	q.unsaved = true
	return nil
}

func (q *Quarantine) add(rejects []scan.Reject, size int64) error {
	return q.update(size, func(b *bucket) error {
		for i := range rejects {
			if err := b.put(b.take(), &rejects[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// errNoFile: there was no room for one.
var errNoFile = &fs.PathError{Op: "write", Path: FileName, Err: syscall.ENOSPC}

// update changes entries and counts in one commit, and drops the oldest until
// the bounds hold.
func (q *Quarantine) update(size int64, change func(*bucket) error) (err error) {
	defer boltpage.Recover(&err)
	if q.db == nil {
		return errNoFile
	}
	tx, err := q.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin quarantine: %w", err)
	}
	defer func() { _ = tx.Rollback() }()                    // after a commit it does nothing
	vacant, err := tx.CreateBucketIfNotExists(bucketVacant) // earlier files have none
	if err != nil {
		return fmt.Errorf("update quarantine: %w", err)
	}
	b := &bucket{counts: q.now(), in: tx.Bucket(BucketRejects), vacant: vacant, cipher: q.cipher, salt: crypt.NewSalt()}
	if err := change(b); err != nil {
		return err
	}
	if err := b.shrink(size, q.o.Count); err != nil {
		return err
	}
	if err := b.store(tx); err != nil {
		return fmt.Errorf("put counts: %w", err)
	}
	if err := q.o.Commit(tx); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts, q.unsaved = b.counts, false
	return nil
}

// Each gives all entries to fn, oldest first, in short transactions. One that
// cannot be read has the code "damaged".
func (q *Quarantine) Each(ctx context.Context, fn func(Entry) error) error {
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

// partBytes bounds what is read of the quarantine, and replayed, at once.
const partBytes = 64 << 10

// part reads some entries from a number on.
func (q *Quarantine) part(from uint64) (part []Entry, err error) {
	err = q.view(func(file boltpage.Reader) error {
		c := file.Bucket(BucketRejects).Cursor()
		bytes := 0
		for k, v := c.Seek(codec.Key(from)); k != nil && bytes < partBytes; k, v = c.Next() {
			r, err := Decrypt(q.cipher, k, v)
			if err != nil {
				r = scan.Reject{Index: -1, Code: "damaged", Reason: "the entry cannot be read from disk"}
			}
			part = append(part, Entry{Seq: codec.Seq(k), Reject: r})
			bytes += len(v)
		}
		return nil
	})
	return part, err
}

// Close closes the file. Where there was no room for one it is tried once more.
func (q *Quarantine) Close() error {
	if q.tree != nil {
		return q.tree.Close()
	}
	if q.unsaved {
		if err := q.save(); err != nil {
			q.o.Logger.Error("counts of the quarantine cannot be saved", "error", err)
		}
	}
	if q.db == nil {
		return nil
	}
	return q.db.Close()
}

func (q *Quarantine) save() error {
	if q.db == nil {
		c := q.now()
		if err := q.make(); err != nil {
			return err
		}
		q.mu.Lock()
		q.counts = c
		q.mu.Unlock()
	}
	return q.add(nil, q.o.Size)
}
