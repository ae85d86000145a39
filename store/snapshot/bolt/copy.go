package bolt

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
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// Files of a folder. Building is a folder in it in which a copy is made to files again:
// while it is there no store begins with nothing.
const (
	LogName      = logName
	WaybillsName = waybillsName
	LockName     = lockName
	KeyName      = datakey.FileName
	Building     = "restore.unfinished"
)

// cut is both files at one moment.
type cut struct {
	at    time.Time
	files []*opened
	err   error
	done  chan struct{}
}

// opened is a file with a transaction of it.
type opened struct {
	*file
	name string
	tx   *bbolt.Tx
}

func (o *opened) end() {
	_ = o.tx.Rollback() // of a reader: it cannot fail but for having ended
	o.users.Done()
}

// Copy gives w the store as it is at one moment, while it goes on: whatever was
// answered before is in it. Nobody waits for it but a file system that can be written
// to again. A value that is damaged ends it.
func (s *Store) Copy(ctx context.Context, w archive.Store) error {
	c := &cut{done: make(chan struct{})}
	select {
	case s.cuts <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return s.usable()
	}
	<-c.done
	defer func() {
		for _, o := range c.files {
			o.end()
		}
	}()
	if c.err != nil {
		return fmt.Errorf("begin a copy: %w", c.err)
	}
	var size int64
	for _, o := range c.files {
		size += o.tx.Size()
	}
	if err := w.Begin(s.id, c.at, size); err != nil {
		return err
	}
	for len(c.files) > 0 { // the log first: once it is read it may be trimmed
		o := c.files[0]
		err := copyFile(o.name, boltpage.Within(o.tx, o.pages, &boltpage.Kept{}), w, func() error {
			select {
			case <-o.left:
				return errors.New("it was opened anew meanwhile: try again")
			case <-s.life.Done():
				return s.usable()
			default:
				return ctx.Err()
			}
		})
		if o.name == waybillsName {
			err = s.suspect(err)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", o.name, err)
		}
		o.end()
		c.files = c.files[1:]
	}
	return nil
}

// open begins the transactions. The committer does it between two groups: then the
// log holds all that waybills.db has, and all behind it, and is not trimmed between
// the two.
func (c *cut) open(s *Store) {
	defer close(c.done)
	c.at = s.o.Now()
	waybills, err := s.use()
	if err != nil {
		c.err = err
		return
	}
	s.log.users.Add(1)
	for _, o := range []*opened{{file: s.log, name: logName}, {file: waybills, name: waybillsName}} {
		var err error
		o.tx, err = o.begin()
		if c.err = errors.Join(c.err, err); err != nil {
			o.users.Done()
			continue
		}
		c.files = append(c.files, o)
	}
}

// CopyFolder is Copy of a folder that no centre uses. Nothing in it is changed.
func CopyFolder(ctx context.Context, dir string, at time.Time, w archive.Store) error {
	lock, err := boltfile.LockStore(dir)
	if err != nil {
		return err
	}
	if lock != nil {
		defer lock.Release()
	}
	var size int64
	readers := map[string]*boltpage.Finder{}
	var id []byte
	for _, name := range []string{logName, waybillsName} {
		if there, err := boltfile.Present(dir, name); err == nil && !there {
			return errors.New(boltfile.Missing[name])
		}
		f, err := boltpage.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer f.Close()
		if f.Metas < 2 {
			return fmt.Errorf("%s: %w: a meta page", name, durable.ErrDamaged)
		}
		if err := boltfile.CheckMeta(f, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		size += int64(f.High()) * boltpage.PageSize
		readers[name] = f.Finder()
		if id, err = readers[name].Get(string(bucketMeta), metaStoreID); err != nil {
			return err
		}
	}
	if err := w.Begin(string(id), at, size); err != nil {
		return err
	}
	for _, name := range []string{logName, waybillsName} {
		if err := copyFile(name, readers[name], w, ctx.Err); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}

func copyFile(name string, r *boltpage.Finder, w archive.Store, goesOn func() error) error {
	var meta boltfile.Fields
	err := archive.CopyBucket(w, r, name, string(bucketMeta), func(k, v []byte) error {
		meta = append(meta, boltfile.Pair{Key: bytes.Clone(k), Value: bytes.Clone(v)})
		return nil
	})
	switch {
	case err != nil:
		return err
	case !meta.Sound():
		return fmt.Errorf("%w: bucket meta", durable.ErrDamaged)
	}
	all := boltfile.Buckets(name)
	r.Scan(string(bucketAnswers), nil, func(_, _ []byte) bool { // of formats before 3
		all = append(all, bucketAnswers)
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
	db, err := boltfile.Open(dir, waybillsName)
	if err != nil {
		return err
	}
	err = boltpage.Guard(func() error {
		return db.Update(boltfile.Summed(func(tx *bbolt.Tx) error {
			missing := judge.Period{From: from.Unix(), To: now.Unix()}
			meta := tx.Bucket(bucketMeta)
			return boltfile.PutMissing(meta, missing.With(boltfile.ReadMissing(meta)))
		}))
	})
	return errors.Join(err, db.Close())
}
