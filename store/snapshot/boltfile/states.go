package boltfile

import (
	"bytes"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
)

// A page that a disk says to have written, and has not, is as it was: sound in its form,
// with waybills as they were then, or without some. No look at it alone can tell; so
// meta has what the sums of all waybills' values come to.

// Put puts a value, or with nil deletes one, and keeps count of what the waybills come
// to.
func Put(tx *bbolt.Tx, bucket, key, value []byte) error {
	b := tx.Bucket(bucket)
	if err := count(tx, bucket, sumOf(value)-sumOf(b.Get(key))); err != nil {
		return err
	}
	if value == nil {
		return b.Delete(key)
	}
	return b.Put(key, value)
}

func count(tx *bbolt.Tx, bucket []byte, more uint64) error {
	meta := tx.Bucket(Meta)
	if !bytes.Equal(bucket, Waybills) || meta.Get(MetaStates) == nil {
		return nil
	}
	return PutNumber(meta, MetaStates, GetNumber(meta, MetaStates)+more)
}

// sumOf is the checksum that a value ends with.
func sumOf(value []byte) uint64 {
	if len(value) < 4 {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(value[len(value)-4:]))
}

// States returns what all waybills of a file come to.
func States(f *boltpage.File) (sum uint64) {
	f.Finder().Scan(string(Waybills), nil, func(_, v []byte) bool {
		sum += sumOf(v)
		return true
	}, func(*boltpage.Hole) bool { return true })
	return sum
}
