package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// FileName is the quarantine's file in the outbox's folder.
const FileName = "quarantine.db"

// MinSize is the smallest file that a quarantine is given, in bytes.
const MinSize = 256 << 10

// Buckets of the file beside its meta, and the one key of the state.
var (
	BucketRejects = []byte("rejects")
	bucketState   = []byte("state")
	keyCounts     = []byte("counts")
)

// Options of a Quarantine; all of them are needed.
type Options struct {
	Size   int64 // of the file, in bytes; MinSize at least
	Count  int   // entries at most
	Logger *slog.Logger
	Commit func(*bolt.Tx) error // of its own writes
}

// Open opens the file in dir, or makes it. A damaged one is set aside; aside is
// the name that it has then.
func Open(dir string, o Options, cipher *crypt.Cipher) (q *Quarantine, aside string, err error) {
	o.Size = max(o.Size, MinSize)
	q = &Quarantine{path: filepath.Join(dir, FileName), o: o, cipher: cipher}
	err = q.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		err = q.make()
	} else if err != nil && !errors.Is(err, durable.ErrNewer) && !errors.Is(err, fs.ErrPermission) {
		o.Logger.Error("quarantine cannot be read and is set aside", "error", err)
		if aside, err = durable.SetAside(q.path); err == nil {
			err = q.make()
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
	err := boltpage.MakeBuckets(tx, codec.MetaBucket, bucketState, BucketRejects)
	if err != nil {
		return err
	}
	return errors.Join(tx.Bucket(codec.MetaBucket).Put(codec.MetaKey, meta.Encode()), none.store(tx))
}

func (q *Quarantine) open(readOnly bool) error {
	_, err := os.Stat(q.path)
	if err == nil && !readOnly { // bbolt would die of a bad page
		err = boltpage.CheckPages(q.path)
	}
	if err != nil {
		return err
	}
	db, err := boltpage.OpenDB(q.path, q.o.Size, readOnly)
	if err != nil {
		return err
	}
	db.AllocSize = 4 * boltpage.PageSize
	err = boltpage.Guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			if _, err := codec.DecodeFileMeta(boltpage.Value(tx, codec.MetaBucket, codec.MetaKey)); err != nil {
				return err
			}
			return q.counts.load(tx)
		})
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	q.db = db
	return nil
}
