package boltpage

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/durable"
)

// Reader is a file at one moment. What it gives is good only as long as the View
// that gave it runs.
type Reader interface {
	Bucket(name []byte) Bucket // nil: there is none
	Size() int64               // bytes that are in use
}

// Bucket is one of a Reader's.
type Bucket interface {
	Get(key []byte) []byte // nil: there is no such key
	Cursor() Cursor
}

// Cursor goes through a bucket. A key that is nil: there are no more.
type Cursor interface {
	First() (key, value []byte)
	Last() (key, value []byte)
	Next() (key, value []byte)
	Seek(key []byte) (k, value []byte) // the first one that is not below key
}

// Seen returns what stands under a key that was seen in a bucket. Where damage
// misleads a search for it, it is looked for one by one.
func Seen(b Bucket, key []byte) []byte {
	if v := b.Get(key); v != nil {
		return v
	}
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if bytes.Equal(k, key) {
			return v
		}
	}
	return nil
}

// View reads a file that bbolt has open for writing. Every page of it was looked
// at before, or written since.
func View(db *bolt.DB, fn func(Reader) error) error {
	return Guard(func() error {
		tx, err := db.Begin(false)
		if err != nil {
			return fmt.Errorf("begin reading: %w", err)
		}
		defer func() { _ = tx.Rollback() }() // ends a read; never fails
		return fn(ReaderOf(tx))
	})
}

// ReaderOf reads what a transaction sees.
func ReaderOf(tx *bolt.Tx) Reader { return boltReader{tx} }

type boltReader struct{ *bolt.Tx }

func (r boltReader) Bucket(name []byte) Bucket {
	if b := r.Tx.Bucket(name); b != nil {
		return boltBucket{b}
	}
	return nil
}

type boltBucket struct{ *bolt.Bucket }

func (b boltBucket) Cursor() Cursor { return b.Bucket.Cursor() }

// Value returns what stands under a key; nil: nothing, or there is no bucket.
func Value(r Reader, bucket, key []byte) []byte {
	if b := r.Bucket(bucket); b != nil {
		return b.Get(key)
	}
	return nil
}

func damage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", durable.ErrDamaged, fmt.Sprintf(format, args...))
}
