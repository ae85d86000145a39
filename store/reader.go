package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/quarantine"
)

// Reader reads an outbox that no agent holds. It changes nothing.
type Reader struct {
	o       *Outbox
	scratch string // folder of mended copies; "": none were needed
}

// OpenReadOnly opens the outbox in dir for reading. ErrInUse: an agent has it;
// an error that is fs.ErrNotExist: there is none.
func OpenReadOnly(dir string) (*Reader, error) {
	return openReader(dir, (*Outbox).startReading)
}

// openReader opens an outbox for reading; start reads what it holds.
func openReader(dir string, start func(*Outbox) error) (*Reader, error) {
	var opts Options
	if err := opts.fill(); err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	lock, err := durable.LockShared(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	o := newOutbox(dir, opts)
	o.lock, o.readOnly = lock, true
	if err := start(o); err != nil {
		err = errors.Join(err, o.journal.close())
		lock.Release()
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return &Reader{o: o}, nil
}

// startReading is start for somebody who must not write.
func (o *Outbox) startReading() (err error) {
	numbers, err := listSegments(o.dir)
	if err != nil {
		return err
	}
	fresh, unread := true, false
	for _, n := range numbers {
		s := &segment{number: n, path: filepath.Join(o.dir, segmentName(n)), sealed: true}
		st, err := o.openSegment(s)
		if err != nil && !setAside(err) {
			return fmt.Errorf("segment %d: %w", n, err)
		}
		if err != nil {
			o.state.damage = fmt.Sprintf("segment %d cannot be read: %v", n, err)
			fresh, unread = false, true
			continue
		}
		fresh = fresh && s.format == 1
		o.journal.append(s)
		if o.state.damage != "" {
			st.damage = o.state.damage
		}
		o.state = *st
	}
	if !unread {
		o.forgetDamage()
	}
	if err := o.readAll(fresh); err != nil {
		return err
	}
	o.quarantine, err = quarantine.OpenReadOnly(o.dir, o.journal.keys.Cipher(crypt.QuarantineKey))
	return err
}

// readAll loads what the journal's segments hold. fresh: nothing is encrypted.
func (o *Outbox) readAll(fresh bool) error {
	o.journal.segments = slices.DeleteFunc(o.journal.segments, func(s *segment) bool { return s.number <= o.state.dropped })
	if len(o.journal.segments) == 0 && (o.state.damage != "" || len(o.damage) > 0) {
		return fmt.Errorf("%w: nothing of the segments in %s can be read", ErrDamaged, o.dir)
	}
	if len(o.journal.segments) == 0 {
		return fmt.Errorf("no segments in %s: %w", o.dir, fs.ErrNotExist)
	}
	if err := o.openKeys(true, fresh); err != nil {
		return err
	}
	_, waiting, err := o.wasClean()
	if err != nil {
		return fmt.Errorf("read mark: %w", err)
	}
	o.waiting = waiting
	return o.loadAll()
}

// Scan gives every record that matches to fn; see Outbox.Scan.
func (r *Reader) Scan(ctx context.Context, f Filter, fn func(event.Record) error) error {
	return r.o.Scan(ctx, f, fn)
}

// Quarantine gives everything in quarantine to fn, oldest first.
func (r *Reader) Quarantine(ctx context.Context, fn func(Quarantined) error) error {
	return r.o.Quarantine(ctx, fn)
}

// Counts returns the outbox as its last process left it.
func (r *Reader) Counts() Counts { return r.o.Counts() }

// DeadIDs returns the ids of the dead letters, rising.
func (r *Reader) DeadIDs() []event.ID { return r.o.DeadIDs() }

// Close closes the files.
func (r *Reader) Close() error {
	err := errors.Join(r.o.journal.close(), r.o.quarantine.Close())
	if r.scratch != "" {
		err = errors.Join(err, os.RemoveAll(r.scratch))
	}
	r.o.lock.Release()
	return err
}
