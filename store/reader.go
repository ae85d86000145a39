package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/index"
	"scanrelay/store/journal"
	"scanrelay/store/quarantine"
)

// Reader reads an outbox that no agent holds. It changes nothing.
type Reader struct {
	View
	lock   *durable.Lock
	damage []string // what could not be read
	unread string   // of it, the quarantine
}

// OpenReadOnly opens the outbox in dir for reading. What is damaged is read as far as
// it can be. ErrInUse: an agent has it; an error that is fs.ErrNotExist: there is
// none.
func OpenReadOnly(dir string) (*Reader, error) { return openReader(dir, journal.OpenReadOnly) }

// OpenDamaged does so, and looks at every page and record before.
func OpenDamaged(dir string) (*Reader, error) { return openReader(dir, journal.OpenDamaged) }

func openReader(dir string, open func(string, journal.Options) (*journal.Journal, error)) (_ *Reader, err error) {
	r := &Reader{}
	if r.lock, err = durable.LockShared(filepath.Join(dir, lockName)); err == nil {
		err = r.open(dir, open)
	}
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", errors.Join(err, r.Close()))
	}
	return r, nil
}

func (r *Reader) open(dir string, open func(string, journal.Options) (*journal.Journal, error)) (err error) {
	var opts Options
	if err := opts.fill(); err != nil {
		return err
	}
	if r.journal, err = open(dir, opts.journal()); err != nil {
		return err
	}
	r.index = index.New(r.journal, opts.windowSize, opts.Now)
	if err := r.journal.Load(r.index); err != nil {
		return err
	}
	r.damage = r.journal.Damage()
	r.quarantine, err = quarantine.OpenReadOnly(dir, r.journal.Cipher(crypt.QuarantineKey))
	if errors.Is(err, ErrDamaged) {
		r.unread = "the quarantine cannot be read: " + err.Error()
		r.damage = append(r.damage, r.unread)
		r.quarantine, err = &quarantine.Quarantine{}, nil
	}
	return err
}

// Counts returns the outbox as its last process left it.
func (r *Reader) Counts() Counts {
	c := r.measure(r.counts())
	if r.unread != "" {
		c.Damaged = strings.TrimPrefix(c.Damaged+"; "+r.unread, "; ")
	}
	return c
}

// Damage tells what could not be read, a line for each file; nothing if
// all is whole.
func (r *Reader) Damage() []string { return r.damage }

// Close closes the files.
func (r *Reader) Close() (err error) {
	if r.journal != nil {
		err = r.journal.Close()
	}
	if r.quarantine != nil {
		err = errors.Join(err, r.quarantine.Close())
	}
	if r.lock != nil {
		r.lock.Release()
	}
	return err
}
