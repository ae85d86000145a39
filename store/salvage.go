package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scanrelay/store/crypt"
	"scanrelay/store/quarantine"
)

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
	r, err := openReader(dir, func(o *Outbox) error { return o.startSalvage(scratch) })
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(scratch))
	}
	r.scratch = scratch
	return r, nil
}

// Damage tells what OpenDamaged could not read, a line for each file; nothing if
// all is whole.
func (r *Reader) Damage() []string { return r.o.damage }

// startSalvage is startReading for somebody who wants what is left.
func (o *Outbox) startSalvage(scratch string) (err error) {
	numbers, err := listSegments(o.dir)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return fmt.Errorf("no segments in %s: %w", o.dir, fs.ErrNotExist)
	}
	fresh := !crypt.Exists(o.dir)
	if o.journal.keys, err = crypt.Open(o.dir, true, fresh); err != nil {
		return err
	}
	for _, n := range numbers {
		if err := o.salvage(n, scratch); err != nil {
			return fmt.Errorf("segment %d: %w", n, err)
		}
	}
	if err := o.readAll(fresh); err != nil {
		return err
	}
	key := o.journal.keys.Cipher(crypt.QuarantineKey)
	o.quarantine, err = quarantine.OpenReadOnly(o.dir, key)
	if err != nil && !errors.Is(err, ErrNewer) && !errors.Is(err, fs.ErrPermission) {
		o.damage = append(o.damage, "the quarantine cannot be read: "+err.Error())
		o.quarantine, err = &quarantine.Quarantine{}, nil
	}
	return err
}

// salvage takes a segment into the journal, or the mended copy of one.
func (o *Outbox) salvage(number uint64, scratch string) error {
	s := &segment{number: number, path: filepath.Join(o.dir, segmentName(number)), sealed: true}
	s.cipher = o.journal.keys.Cipher(number)
	st, err := o.openSegment(s)
	if err == nil && number <= st.dropped {
		return nil // only its unlinking was missing
	}
	if err == nil {
		if err = o.checkSegment(s); err == nil {
			o.journal.append(s)
			o.state = *st
			return nil
		}
	}
	if !setAside(err) {
		return err
	}
	if err := o.journal.shut(s); err != nil {
		return err
	}
	b := &rebuilder{s: s, state: o.state.clone()}
	temp := filepath.Join(scratch, segmentName(number))
	if err := b.build(temp); err != nil {
		return err
	}
	o.damage = append(o.damage, b.report(number))
	if !b.found() {
		return nil
	}
	s.path, s.rebuilt = temp, true
	if st, err = o.openSegment(s); err == nil {
		o.journal.append(s)
		o.state = *st
	}
	return err
}
