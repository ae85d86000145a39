package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/archive"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
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
		err := boltfile.CopyFile(o.name, boltpage.Within(o.tx, o.pages, &boltpage.Kept{}), w, func() error {
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
