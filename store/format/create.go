package format

import (
	"errors"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// Sizes in bytes. A segment is bounded so that damage and maps stay small; on
// 32-bit machines address space is what runs out first. The smallest has room for its
// register beside it in a MiB.
const (
	MinSize   = 1<<20 - 1<<20/registerShare
	maxSize   = 128 << 20
	maxSize32 = 64 << 20
	Is32bit   = ^uint(0)>>32 == 0
)

// registerShare is the part of a segment and its register that is left to the register:
// that of events of 120 bytes takes so much.
const registerShare = 16

// SizeFor returns the size of new segments of an outbox of maxOutbox bytes: eight and
// their registers fill it.
func SizeFor(maxOutbox int64) int64 {
	limit := int64(maxSize)
	if Is32bit {
		limit = maxSize32
	}
	return max(roundDown(min(limit, maxOutbox/8*(registerShare-1)/registerShare)), MinSize)
}

func roundDown(size int64) int64 { return size &^ (boltpage.AllocSize - 1) }

// preallocate makes the file and reserves its blocks, halving its size until the
// file system can give it.
func preallocate(temp string, m *codec.FileMeta) error {
	for {
		err := boltpage.Make(temp, m.Size, func(tx *bolt.Tx) error {
			if err := boltpage.MakeBuckets(tx, Buckets...); err != nil {
				return err
			}
			return Fill(inTx(tx), m, &State{})
		})
		if err == nil {
			err = reserve(temp, m.Size)
		}
		if !durable.NoSpace(err) || m.Size/2 < MinSize {
			return err
		}
		m.Size = roundDown(m.Size / 2)
		if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have found no name
			return err
		}
	}
}

// Fill writes the head of a segment and its state.
func Fill(in func(bucket []byte) Putter, m *codec.FileMeta, st *State) error {
	if err := in(BucketMeta).Put(codec.MetaKey, m.Encode()); err != nil {
		return err
	}
	return st.StoreAll(in(BucketState))
}

// Putter is a bucket that is filled.
type Putter interface {
	Put(key, value []byte) error
}

// inTx are the buckets of a transaction.
func inTx(tx *bolt.Tx) func(bucket []byte) Putter {
	return func(bucket []byte) Putter { return tx.Bucket(bucket) }
}

// reserve allocates the file's blocks, so that no other writer can take them.
func reserve(path string, size int64) error {
	f, err := durable.Open(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(durable.Allocate(f, 0, size), f.Close())
}
