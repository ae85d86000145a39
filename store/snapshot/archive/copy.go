package archive

import (
	"errors"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
)

// Store takes a copy of a store: a moment, then buckets, each with its records in the
// order of their keys, which are good only within the call. A Writer does.
type Store interface {
	// Begin names the store and the moment; its files have that many bytes.
	Begin(storeID string, at time.Time, size int64) error
	Bucket(file, bucket string) error
	Record(key, value []byte) error
}

// CopyBucket gives a bucket to w. look has a look at each record first: its error, as
// that of a page that cannot be read, ends the copy.
func CopyBucket(w Store, r *boltpage.Finder, file, bucket string, look func(key, value []byte) error) error {
	err := w.Bucket(file, bucket)
	if err != nil {
		return err
	}
	r.Scan(bucket, nil, func(k, v []byte) bool {
		if err = look(k, v); errors.Is(err, durable.ErrDamaged) {
			err = &boltpage.Hole{Bucket: bucket, Err: err}
		}
		if err == nil {
			err = w.Record(k, v)
		}
		return err == nil
	}, func(h *boltpage.Hole) bool {
		err = h
		return false
	})
	return err
}
