package repair

import (
	"bytes"
	"errors"
	"iter"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/format"
)

// target is where what is good of a damaged segment goes.
type target interface {
	put(bucket, key, value []byte) error
	lose(bucket, key []byte) error // puts an empty place
	has(bucket, key []byte) bool
	keys(bucket []byte) iter.Seq[uint64] // rising
	in(bucket []byte) format.Putter      // of what is no record
	size() int64                         // of the file by now
}

// commitBytes bounds one commit of a rebuild.
const commitBytes = 1 << 20

// file is a new file.
type file struct {
	db      *bolt.DB
	tx      *bolt.Tx
	pending int // bytes in tx
}

func newFile(path string, maxSize int64) (*file, error) {
	opts := boltpage.Options(maxSize)
	opts.NoSync = true // synced as a whole, before it takes its name
	db, err := bolt.Open(path, 0o600, opts)
	if err != nil {
		return nil, err
	}
	db.AllocSize = boltpage.AllocSize
	f := &file{db: db}
	if f.tx, err = db.Begin(true); err == nil {
		err = boltpage.MakeBuckets(f.tx, format.Buckets...)
	}
	if err != nil {
		return nil, errors.Join(err, f.end(false))
	}
	return f, nil
}

func (f *file) put(bucket, key, value []byte) error {
	b := f.tx.Bucket(bucket)
	b.FillPercent = 1
	if err := b.Put(key, bytes.Clone(value)); err != nil {
		return err
	}
	if f.pending += len(value) + 24; f.pending <= commitBytes {
		return nil
	}
	f.pending = 0
	err := f.tx.Commit()
	f.tx = nil
	if err == nil {
		f.tx, err = f.db.Begin(true)
	}
	return err
}

func (f *file) lose(bucket, key []byte) error { return f.tx.Bucket(bucket).Put(key, nil) }

func (f *file) has(bucket, key []byte) bool { return f.tx.Bucket(bucket).Get(key) != nil }

func (f *file) keys(bucket []byte) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		c := f.tx.Bucket(bucket).Cursor()
		for k, _ := c.First(); k != nil && yield(codec.Seq(k)); k, _ = c.Next() {
		}
	}
}

func (f *file) in(bucket []byte) format.Putter { return f.tx.Bucket(bucket) }

func (f *file) size() int64 { return f.tx.Size() }

// end commits what was put, if it is good, and closes the file.
func (f *file) end(good bool) (err error) {
	switch {
	case f.tx == nil: // a commit failed
	case good:
		err = f.tx.Commit()
	default:
		err = f.tx.Rollback()
	}
	return errors.Join(err, f.db.Close())
}

// list is a list of what stands where in the damaged file.
type list struct {
	*boltpage.Gathered
	p *boltpage.File
}

func (l *list) put(bucket, key, _ []byte) error {
	l.PutRecord(bucket, key, l.p.At)
	return nil
}

func (l *list) lose(bucket, key []byte) error {
	l.PutRecord(bucket, key, boltpage.Place{})
	return nil
}

func (l *list) has(bucket, key []byte) bool { return l.Has(bucket, key) }

func (l *list) keys(bucket []byte) iter.Seq[uint64] { return l.Keys(bucket) }

func (l *list) in(bucket []byte) format.Putter { return values{l, bucket} }

func (l *list) size() int64 { return 0 }

type values struct {
	l      *list
	bucket []byte
}

func (v values) Put(key, value []byte) error {
	v.l.PutValue(v.bucket, key, value)
	return nil
}
