package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// FileName is the quarantine's file in the outbox's folder.
const FileName = "quarantine.db"

// MinSize is the smallest file that a quarantine is given, in bytes.
const MinSize = 256 << 10

// Buckets of the file beside its meta, and the keys of the state.
var (
	BucketRejects = []byte("rejects")
	bucketState   = []byte("state")
	bucketVacant  = []byte(scan.NoWaybill)
	keyCounts     = []byte("counts")
	keyVacant     = []byte(scan.NoWaybill)
)

// Options of a Quarantine; all of them are needed.
type Options struct {
	Size   int64 // of the file, in bytes; MinSize at least
	Count  int   // entries at most
	Logger *slog.Logger
	Commit func(*bolt.Tx) error // of its own writes
}

// Open opens the file in dir, or makes it. A damaged one is set aside; aside is
// the name that it has then. Without room for a new one there is none, and what is
// rejected is only counted.
func Open(dir string, o Options, cipher *crypt.Cipher) (q *Quarantine, aside string, err error) {
	o.Size = max(o.Size, MinSize)
	q = &Quarantine{path: filepath.Join(dir, FileName), o: o, cipher: cipher}
	err = q.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		err = q.make()
	} else if errors.Is(err, durable.ErrDamaged) {
		o.Logger.Error("quarantine cannot be read and is set aside", "error", err)
		aside = durable.AsideName(q.path)
		if err = durable.SetAside(q.path, aside); err == nil {
			err = q.make()
		}
	}
	if durable.NoSpace(err) {
		o.Logger.Error("disk is full: rejected messages are not kept until the next start", "error", err)
		q.counts, err = counts{next: 1}, nil
		if aside != "" {
			err = os.Remove(q.path) // it has another name
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("open quarantine: %w", err)
	}
	return q, aside, nil
}

// OpenReadOnly opens the file in dir; if it is not there, an empty Quarantine.
func OpenReadOnly(dir string, cipher *crypt.Cipher) (*Quarantine, error) {
	q := &Quarantine{path: filepath.Join(dir, FileName), cipher: cipher}
	if err := q.open(true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return q, nil
}

func (q *Quarantine) make() error {
	err := durable.Build(q.path, func(temp string) error { return boltpage.Make(temp, q.o.Size, q.fill) })
	if err != nil {
		return err
	}
	return q.open(false)
}

// fill puts what an empty quarantine has into a file.
func (q *Quarantine) fill(tx *bolt.Tx) error {
	meta, none := codec.FileMeta{Format: codec.Version, Size: q.o.Size}, counts{next: 1}
	err := boltpage.MakeBuckets(tx, codec.MetaBucket, bucketState, BucketRejects, bucketVacant)
	if err != nil {
		return err
	}
	return errors.Join(tx.Bucket(codec.MetaBucket).Put(codec.MetaKey, meta.Encode()), none.store(tx))
}

// open reads the file's head. Every page of it is looked at before bbolt, which
// would die of a bad one, opens it for writing.
func (q *Quarantine) open(readOnly bool) (err error) {
	if _, err = os.Stat(q.path); err == nil && !readOnly {
		if err = boltpage.CheckPages(q.path); err == nil {
			err = boltpage.Confirm(q.path)
		}
	}
	if err != nil {
		return err
	}
	if q.tree, err = boltpage.OpenTree(q.path); err != nil {
		return err
	}
	err = q.tree.View(func(r boltpage.Reader) error {
		if _, err := codec.DecodeFileMeta(boltpage.Value(r, codec.MetaBucket, codec.MetaKey)); err != nil {
			return err
		}
		return q.counts.load(r)
	})
	if err == nil && readOnly {
		return nil
	}
	err = errors.Join(err, q.tree.Close())
	if q.tree = nil; err != nil {
		return err
	}
	if q.db, err = boltpage.OpenDB(q.path, q.o.Size); err == nil {
		q.db.AllocSize = 4 * boltpage.PageSize
	}
	return err
}

// view runs fn on what the file holds at this moment, if there is one.
func (q *Quarantine) view(fn func(boltpage.Reader) error) error {
	switch {
	case q.tree != nil:
		return q.tree.View(fn)
	case q.db == nil:
		return nil
	}
	return boltpage.View(q.db, fn)
}
