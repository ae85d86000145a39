package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/index"
	"scanrelay/store/journal"
	"scanrelay/store/quarantine"
)

// Reader reads an outbox that no agent holds. It changes nothing.
type Reader struct {
	View
	lock    *durable.Lock
	scratch string   // folder of mended copies; "": none were needed
	damage  []string // what could not be read
}

// OpenReadOnly opens the outbox in dir for reading. ErrInUse: an agent has it;
// an error that is fs.ErrNotExist: there is none.
func OpenReadOnly(dir string) (*Reader, error) {
	return openReader(dir, "")
}

// OpenDamaged opens the outbox in dir for reading, whatever can be read of it:
// every page and record is looked at, and a segment that is damaged is read from
// a mended copy in a temporary folder, which Close removes. The copies are
// encrypted as the segments are. Damage says what is not whole. Of errors it has
// those of OpenReadOnly, but no ErrDamaged.
func OpenDamaged(dir string) (*Reader, error) {
	scratch, err := os.MkdirTemp("", "scanrelay-")
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return openReader(dir, scratch)
}

func openReader(dir, scratch string) (_ *Reader, err error) {
	r := &Reader{scratch: scratch}
	if r.lock, err = durable.LockShared(filepath.Join(dir, lockName)); err == nil {
		err = r.open(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", errors.Join(err, r.Close()))
	}
	return r, nil
}

func (r *Reader) open(dir string) (err error) {
	var opts Options
	if err := opts.fill(); err != nil {
		return err
	}
	if r.scratch == "" {
		r.journal, err = journal.OpenReadOnly(dir, opts.journal())
	} else {
		r.journal, err = journal.OpenDamaged(dir, r.scratch, opts.journal())
	}
	if err != nil {
		return err
	}
	r.damage = r.journal.Damage()
	r.index = index.New(r.journal, opts.windowSize, opts.Now)
	if err := r.journal.Load(r.index); err != nil {
		return err
	}
	r.quarantine, err = quarantine.OpenReadOnly(dir, r.journal.Cipher(crypt.QuarantineKey))
	if err != nil && r.scratch != "" && !errors.Is(err, ErrNewer) && !errors.Is(err, fs.ErrPermission) {
		r.damage = append(r.damage, "the quarantine cannot be read: "+err.Error())
		r.quarantine, err = &quarantine.Quarantine{}, nil
	}
	return err
}

// Damage tells what OpenDamaged could not read, a line for each file; nothing if
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
	if r.scratch != "" {
		err = errors.Join(err, os.RemoveAll(r.scratch))
	}
	if r.lock != nil {
		r.lock.Release()
	}
	return err
}
