package boltfile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot/archive"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// CopyFolder gives w the store in a folder that no centre uses. Nothing in it is changed.
func CopyFolder(ctx context.Context, dir string, at time.Time, w archive.Store) error {
	lock, err := lockStore(dir)
	if err != nil {
		return err
	}
	if lock != nil {
		defer lock.Release()
	}
	var size int64
	readers := map[string]*boltpage.Finder{}
	var id []byte
	for _, name := range []string{LogName, WaybillsName} {
		if there, err := Present(dir, name); err == nil && !there {
			return errors.New(Missing[name])
		}
		f, err := boltpage.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer f.Close()
		if f.Metas < 2 {
			return fmt.Errorf("%s: %w: a meta page", name, durable.ErrDamaged)
		}
		if err := CheckMeta(f, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		size += int64(f.High()) * boltpage.PageSize
		readers[name] = f.Finder()
		if id, err = readers[name].Get(string(Meta), MetaStoreID); err != nil {
			return err
		}
	}
	if err := w.Begin(string(id), at, size); err != nil {
		return err
	}
	for _, name := range []string{LogName, WaybillsName} {
		if err := CopyFile(name, readers[name], w, ctx.Err); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}

// CopyFile gives a file of a store, as r has it, to an archive; goesOn ends it early.
func CopyFile(name string, r *boltpage.Finder, w archive.Store, goesOn func() error) error {
	var meta Fields
	err := archive.CopyBucket(w, r, name, string(Meta), func(k, v []byte) error {
		meta = append(meta, Pair{Key: bytes.Clone(k), Value: bytes.Clone(v)})
		return nil
	})
	switch {
	case err != nil:
		return err
	case !meta.Sound():
		return fmt.Errorf("%w: bucket meta", durable.ErrDamaged)
	}
	all := Buckets(name)
	r.Scan(string(Answers), nil, func(_, _ []byte) bool { // of formats before 3
		all = append(all, Answers)
		return false
	}, func(h *boltpage.Hole) bool {
		err = h
		return false
	})
	for _, b := range all {
		if err == nil {
			err = archive.CopyBucket(w, r, name, string(b), func(k, v []byte) error {
				_, bad := values.Forms[string(b)](k, v)
				return cmp.Or(bad, goesOn())
			})
		}
	}
	return err
}

// MarkRestored notes in a folder that it is a copy of that time which was put back:
// what was imported until now is missing.
func MarkRestored(dir string, from, now time.Time) error {
	db, err := Open(dir, WaybillsName)
	if err != nil {
		return err
	}
	err = boltpage.Guard(func() error {
		return db.Update(Summed(func(tx *bbolt.Tx) error {
			missing := judge.Period{From: from.Unix(), To: now.Unix()}
			meta := tx.Bucket(Meta)
			return PutMissing(meta, missing.With(ReadMissing(meta)))
		}))
	})
	return errors.Join(err, db.Close())
}
