package boltfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/values"
)

// Clearing encrypts, step by step, what a format before 4 has in clear in waybills.db:
// value by value, then it overwrites the free pages, which still have what was there
// before. How far it has come stands in meta, so that it goes on after a stop. Nobody
// may write to the file during a step.
type Clearing struct {
	Path   string
	Keys   *datakey.Ring
	Read   func(ctx context.Context, fn func(r *boltpage.Finder) error) error
	Update func(fn func(tx *bbolt.Tx) error) error
	// Pending is how many pages bbolt gave free that a read which goes on may see.
	Pending func() int
	// Bounds of one step: keys that are looked at, pages that are overwritten.
	MaxKeys, MaxPages int

	// Encrypted: all values are; the free pages are not yet overwritten.
	Encrypted bool
	from      []byte // the next value
	wiped     uint64 // free pages below are overwritten
}

// maxBytes of values are encrypted in one step.
const maxBytes = 1 << 20

// Resume goes on where meta says; false: there is nothing to do.
func (c *Clearing) Resume(meta *bbolt.Bucket) bool {
	c.Encrypted, c.from, c.wiped = false, bytes.Clone(meta.Get(MetaClear)), 0
	return meta.Get(MetaEncrypted) == nil
}

// Encrypt encrypts the next values.
func (c *Clearing) Encrypt(ctx context.Context) error {
	var next []byte
	var found []record
	from := c.from // a read that the disk is slow with goes on when ctx ends
	err := c.Read(ctx, func(r *boltpage.Finder) (err error) {
		found, next, err = c.inClear(r, from)
		return err
	})
	if err != nil {
		return err
	}
	err = c.Update(func(tx *bbolt.Tx) error {
		for _, w := range found {
			if err := Put(tx, w.bucket, w.key, w.value); err != nil {
				return err
			}
		}
		return tx.Bucket(Meta).Put(MetaClear, next)
	})
	if err == nil {
		c.from, c.Encrypted = next, next[0] == clearEnd
	}
	return err
}

type record struct{ bucket, key, value []byte }

// What the place of the next value begins with, in this order.
const (
	clearDamaged  = 'd'
	clearWaybills = 'w'
	clearEnd      = 'x'
)

// inClear encrypts the next values that are not, beginning at a place, and returns the
// next one.
func (c *Clearing) inClear(r *boltpage.Finder, from []byte) (found []record, next []byte, err error) {
	stage := byte(clearDamaged)
	if len(from) > 0 {
		stage, from = from[0], from[1:]
	}
	bucket, after := Damaged, byte(clearWaybills)
	if stage != clearDamaged {
		bucket, after = Waybills, clearEnd
	}
	if next = []byte{after}; stage == clearEnd {
		return nil, next, nil
	}
	keys, size := 0, 0
	r.Scan(string(bucket), from, func(k, v []byte) bool {
		if keys++; keys > c.MaxKeys || size > maxBytes {
			next = append([]byte{stage}, k...)
			return false
		}
		w := record{bucket: bucket, key: bytes.Clone(k)}
		switch {
		case stage == clearDamaged:
			w.value = values.EncryptDamaged(c.Keys, k, v)
		case values.InClear(string(bucket), v):
			st, bad := values.DecodeState(nil, k, v)
			if err = bad; err != nil {
				return false
			}
			w.value = values.EncodeState(c.Keys, k, st)
		default:
			return true
		}
		found, size = append(found, w), size+len(v)
		return true
	}, func(h *boltpage.Hole) bool {
		err = h
		return false
	})
	return found, next, err
}

// Overwrite puts zeros on the next free pages; behind the last of them it is done. Pages
// that were given free lately belong to what a read that goes on may see, so it waits
// for those: bbolt counts them, and a transaction that changes nothing adds only the few
// that the list of free pages has more than before.
func (c *Clearing) Overwrite() (done, waits bool, err error) {
	before, err := c.freePages()
	if err == nil {
		err = c.Update(func(*bbolt.Tx) error { return nil })
	}
	if err != nil {
		return false, false, err
	}
	all, err := c.freePages()
	if err != nil {
		return false, false, err
	}
	count := len(all)
	free := slices.DeleteFunc(all, func(id uint64) bool { _, was := slices.BinarySearch(before, id); return !was })
	if c.Pending() != count-len(free) {
		return false, true, nil
	}
	at, _ := slices.BinarySearch(free, c.wiped)
	free = free[at:]
	if len(free) > c.MaxPages {
		err := c.overwrite(free[:c.MaxPages])
		if err == nil {
			c.wiped = free[c.MaxPages]
		}
		return false, false, err
	}
	if err := c.overwrite(free); err != nil {
		return false, false, err
	}
	err = c.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(Meta)
		return errors.Join(meta.Delete(MetaClear), meta.Put(MetaEncrypted, []byte{1}))
	})
	return err == nil, false, err
}

// ErrSync: pages were overwritten, and nobody knows what is on disk.
var ErrSync = errors.New("sync of overwritten pages")

// overwrite puts zeros on pages that nothing leads to.
func (c *Clearing) overwrite(pages []uint64) error {
	f, err := durable.Open(c.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	zero := make([]byte, boltpage.PageSize)
	for _, id := range pages {
		if err == nil {
			_, err = f.WriteAt(zero, int64(id)*boltpage.PageSize)
		}
	}
	if err == nil {
		if err = f.Sync(); err != nil {
			err = fmt.Errorf("%w: %w", ErrSync, err)
		}
	}
	return errors.Join(err, f.Close())
}

// freePages lists those of the file as it is on disk, in order.
func (c *Clearing) freePages() ([]uint64, error) {
	f, err := boltpage.Open(c.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Free()
}
