package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot/boltfile"
)

// file is waybills.db or log.db while it is open. It is read page by page beside
// bbolt, which maps it: a fault in a map would hold up, or end, the whole process.
type file struct {
	db    *bbolt.DB
	place durable.Place
	pages *durable.File  // a disk that is busy for seconds is no damage
	users sync.WaitGroup // reads that go on
	left  chan struct{}  // closed: those that take long are to end
	// broken: bbolt died within a transaction, and may hold its locks for good.
	broken bool
	head   boltpage.Head // as the last transaction left it; whoever writes owns it
	keys   int           // version of the ring that is in it; whoever writes owns it
	tx     atomic.Uint64 // of head

	viewMu  sync.Mutex
	view    *view // that reads begin in; nil: the next one begins one
	kept    *kept // of the last transaction
	writing bool  // no view stays that nobody reads in
}

// view is a transaction for reads, which stays until the next one that writes: to
// begin one costs more than most reads. Its file's viewMu guards it.
type view struct {
	tx    *bbolt.Tx
	users int
	*kept
}

// kept is what the reads of one transaction share, though it is begun anew.
type kept struct {
	tx    uint64
	pages boltpage.Kept
	idle  []*boltpage.Finder
}

const maxIdle = 16 // readers, each with a few pages

func openPaged(dir, name string) (*file, error) {
	db, err := boltfile.Open(dir, name)
	if err != nil {
		return nil, err
	}
	pages, err := durable.OpenFile(filepath.Join(dir, name))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	f := &file{db: db, pages: pages, place: durable.Place{Path: db.Path()}, left: make(chan struct{})}
	if err := errors.Join(f.place.Look(), f.readHead()); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *file) readHead() (err error) {
	f.head, err = boltpage.HeadOf(f.pages)
	f.tx.Store(f.head.Tx)
	return err
}

// close waits for the reads that go on, of which the long ones end early.
func (f *file) close() error {
	close(f.left)
	f.users.Wait()
	f.write(true)
	if f.broken {
		return f.pages.Close()
	}
	return errors.Join(boltpage.Guard(f.db.Close), f.pages.Close())
}

// update is a transaction. What bbolt believes unseen must be as the last one left
// it: it would go back by one where the newest meta page is damaged, and take pages
// in use for free ones.
func (f *file) update(fn func(tx *bbolt.Tx) error) error {
	if err := f.place.Look(); err != nil {
		return err
	}
	if err := f.untouched(); err != nil {
		return err
	}
	f.write(true)
	defer f.write(false)
	err := boltpage.Guard(func() error { return f.db.Update(boltfile.Summed(fn)) })
	if err == nil {
		return f.readHead()
	}
	f.broken = f.broken || isDamage(err)
	return err
}

// write ends the view, and lets none stay while on: bbolt waits for all transactions
// where it maps the file anew.
func (f *file) write(on bool) {
	f.viewMu.Lock()
	old := f.view
	f.writing, f.view = on, nil
	idle := old != nil && old.users == 0
	f.viewMu.Unlock()
	if idle {
		old.end()
	}
}

func (v *view) end() {
	_ = boltpage.Guard(v.tx.Rollback) // of a reader: it cannot fail but for having ended
}

// untouched tells whether what bbolt believes unseen is not as the last transaction
// left it.
func (f *file) untouched() error {
	switch head, err := boltpage.HeadOf(f.pages); {
	case err != nil:
		return err
	case head != f.head:
		return fmt.Errorf("%w: a meta page, or the list of free pages", durable.ErrDamaged)
	}
	return nil
}

// use returns waybills.db for a read; the caller ends it with users.Done.
func (s *Store) use() (*file, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	s.file.users.Add(1)
	return s.file, nil
}

// readers is how many reads of waybills.db there may be at once: each that the
// disk is slow with holds a thread.
const readers = 64

// read runs fn with a reader of waybills.db as it is now.
func read[T any](ctx context.Context, s *Store, fn func(r *boltpage.Finder) (T, error)) (T, error) {
	return readBy(ctx, s, readShared, fn)
}

// reader is readShared, or readFile before bbolt writes to what is read.
type reader[T any] func(f *file, fn func(r *boltpage.Finder) (T, error)) (T, error)

// readBy is read by some reader. A read that the disk is slow with is left alone
// when ctx ends, so fn must change nothing but what it returns.
func readBy[T any](ctx context.Context, s *Store, by reader[T], fn func(r *boltpage.Finder) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	f, err := s.use()
	if err != nil {
		return none, err
	}
	if ctx.Done() == nil {
		defer f.users.Done()
		return by(f, fn)
	}
	select {
	case s.reading <- struct{}{}:
	case <-ctx.Done():
		f.users.Done()
		return none, ctx.Err()
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer f.users.Done()
		defer func() { <-s.reading }()
		var r result
		r.v, r.err = by(f, fn)
		done <- r
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// uptodate tells that bbolt would begin a transaction on what was before. It may
// read while others write, so what it finds wrong it looks at again.
func (f *file) uptodate() (err error) {
	for range 3 {
		last, tx := f.tx.Load(), uint64(0)
		if tx, err = boltpage.NewestTx(f.pages); err == nil && tx >= last {
			return nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%w: the newest meta page", durable.ErrDamaged)
	}
	return err
}

// readFile reads every page from disk.
func readFile[T any](f *file, fn func(r *boltpage.Finder) (T, error)) (v T, err error) {
	tx, err := f.begin()
	if err != nil {
		return v, err
	}
	err = boltpage.Guard(func() error {
		defer func() { _ = tx.Rollback() }() // as in view.end
		v, err = fn(boltpage.Within(tx, f.pages, &boltpage.Kept{}))
		return err
	})
	return v, err
}

// begin begins a transaction for reads.
func (f *file) begin() (tx *bbolt.Tx, err error) {
	if err := f.uptodate(); err != nil {
		return nil, err
	}
	err = boltpage.Guard(func() (err error) {
		tx, err = f.db.Begin(false)
		return err
	})
	return tx, err
}

// readShared believes what other reads of the same transaction read.
func readShared[T any](f *file, fn func(r *boltpage.Finder) (T, error)) (v T, err error) {
	w, r, err := f.enter()
	if err != nil {
		return v, err
	}
	err = boltpage.Guard(func() error {
		v, err = fn(r)
		return err
	})
	if err != nil {
		r = nil // it may have stopped anywhere
	}
	f.leave(w, r)
	return v, err
}

// enter returns a reader in the view, or in a transaction of its own where none may
// stay; the caller leaves.
func (f *file) enter() (*view, *boltpage.Finder, error) {
	f.viewMu.Lock()
	defer f.viewMu.Unlock()
	v := f.view
	if v == nil {
		f.viewMu.Unlock() // the disk may be slow, and others are to leave
		tx, err := f.begin()
		f.viewMu.Lock()
		if err != nil {
			return nil, nil, err
		}
		id := uint64(tx.ID())
		if f.kept == nil || f.kept.tx < id {
			f.kept = &kept{tx: id}
		}
		v = &view{tx: tx, kept: f.kept}
		if f.kept.tx != id { // a commit came meanwhile
			v.kept = &kept{tx: id}
		}
		if f.view == nil && !f.writing && id == f.tx.Load() {
			f.view = v
		}
	}
	v.users++
	if last := len(v.idle) - 1; last >= 0 {
		r := v.idle[last]
		v.idle = v.idle[:last]
		r.Renew()
		return v, r, nil
	}
	return v, boltpage.Within(v.tx, f.pages, &v.pages), nil
}

// leave ends a read; r, if set, serves the next one.
func (f *file) leave(v *view, r *boltpage.Finder) {
	f.viewMu.Lock()
	v.users--
	if r != nil && len(v.idle) < maxIdle {
		v.idle = append(v.idle, r)
	}
	over := v.users == 0 && v != f.view
	f.viewMu.Unlock()
	if over {
		v.end()
	}
}

// steady reads waybills.db as new as every look at the tail within fn: where a
// merge ended meanwhile, an entry may have left the tail after the transaction
// began, so fn runs again from the start.
func steady[T any](ctx context.Context, s *Store, fn func(r *boltpage.Finder) (T, error)) (T, error) {
	for {
		before := s.merged.Load()
		v, err := read(ctx, s, fn)
		if err != nil || s.merged.Load() == before {
			return v, err
		}
	}
}

// update is a transaction on waybills.db that a stop prevents. The caller holds
// mergeMu.
func (s *Store) update(fn func(tx *bbolt.Tx) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.reopenWaybills(); err != nil {
		return err
	}
	err := s.updateFile(s.file, waybillsName, s.file.update, func(tx *bbolt.Tx) error {
		if s.states != nil {
			if err := boltfile.PutNumber(tx.Bucket(bucketMeta), boltfile.MetaStates, *s.states); err != nil {
				return err
			}
		}
		return fn(tx)
	})
	if err == nil {
		s.states = nil
	}
	return err
}

// writeFailed returns what a failed write of waybills.db means: where it may
// have changed something the store fails.
func (s *Store) writeFailed(err error) error {
	if refused(err) || s.usable() != nil || isDamage(err) {
		return err
	}
	return s.fail(err)
}
