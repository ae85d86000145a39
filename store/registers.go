package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
)

// registered lists the numbers of the events in a segment that are of waybills;
// perhaps some that are not.
func (o *Outbox) registered(s *segment, ids []scan.WaybillID) (seqs []uint64, err error) {
	if s.register == nil {
		return o.readFor(s, ids)
	}
	slots, err := o.lookUp(s, ids)
	if errors.Is(err, ErrDamaged) {
		o.opts.Logger.Warn("register is damaged and made again", "segment", s.number, "error", err)
		s.register.discard()
		slots, err = o.lookUp(s, ids)
	}
	for _, slot := range slots {
		seqs = append(seqs, s.first+slot)
	}
	return seqs, err
}

func (o *Outbox) lookUp(s *segment, ids []scan.WaybillID) ([]uint64, error) {
	if err := o.fill(s); err != nil {
		return nil, err
	}
	return s.register.find(ids)
}

// readFor looks for waybills in a segment without a register: its key is gone,
// or it is of format 1.
func (o *Outbox) readFor(s *segment, ids []scan.WaybillID) (seqs []uint64, err error) {
	wanted := o.hashes(ids)
	err = o.peekEvents(s, s.first, func(seq uint64, h *codec.Head) error {
		if wanted[o.index.hashBytes(h.Waybill)] {
			seqs = append(seqs, seq)
		}
		return nil
	})
	return seqs, err
}

// fill reads what a register lacks; a sealed segment's is saved then.
func (o *Outbox) fill(s *segment) error { return o.fillUntil(s, nil) }

// fillUntil is fill that is given up with ErrClosed once stop is closed.
func (o *Outbox) fillUntil(s *segment, stop <-chan struct{}) error {
	from, to := s.register.lacks()
	if from == to {
		return nil
	}
	f := &filler{r: s.register, from: from, to: to}
	err := o.peekEvents(s, s.first+from, func(seq uint64, h *codec.Head) error {
		if slot := seq - s.first; slot < to {
			f.add(slot, h.Waybill)
		}
		select {
		case <-stop:
			return event.ErrClosed
		default:
			return nil
		}
	})
	if err != nil {
		return fmt.Errorf("make register: %w", err)
	}
	f.done()
	if s != o.journal.newest() {
		o.saveRegister(s)
	}
	return nil
}

// saveRegister writes a register's file. Without it what it holds stays in
// memory, until the end; then it is made again when somebody asks for it.
func (o *Outbox) saveRegister(s *segment) {
	if o.readOnly {
		return
	}
	if err := s.register.save(s.number); err != nil {
		o.opts.Logger.Warn("register cannot be written", "segment", s.number, "error", err)
	}
}

// completeRegister makes the register of a segment that was sealed into a file.
func (o *Outbox) completeRegister(s *segment) {
	if s.register == nil {
		return
	}
	if err := o.fillUntil(s, o.stop); err != nil {
		if !errors.Is(err, errGone) && !errors.Is(err, event.ErrClosed) {
			o.opts.Logger.Warn("register cannot be made", "segment", s.number, "error", err)
		}
		return
	}
	if s != o.journal.newest() {
		o.saveRegister(s)
	}
}

// completeRegisters makes what a crash left undone of registers, aside, before
// somebody needs it and has to wait.
func (o *Outbox) completeRegisters() {
	for _, s := range o.journal.list() {
		o.completeRegister(s)
	}
}

// openRegisters gives each segment that was loaded its register. What is not of
// this segment as it is now is made again when it is asked for.
func (o *Outbox) openRegisters() error {
	for _, s := range o.journal.list() {
		s.register.close()
		s.register = nil
		if s.cipher == nil || s.format < codec.Version {
			continue
		}
		s.register = newRegister(registerPath(s.path), s.cipher, s.last+1-s.first)
		if err := s.register.open(s.number); err != nil {
			return err
		}
	}
	return o.forgetRegisters()
}

// open takes the file if there is a right one. One that has more than the
// segment is of a transaction that was lost, and must not stay: it would pass for
// right once the segment has as many other events.
func (r *register) open(number uint64) error {
	f, err := openRegisterFile(r.path, number)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrDamaged), errors.Is(err, ErrNewer):
		return nil
	case err != nil:
		return fmt.Errorf("open register: %w", err)
	case f.upTo > r.end:
		f.close()
		return nil
	}
	r.file = f
	return nil
}

// forgetRegisters removes the files that were not taken, and those of segments
// that are gone, before anything is written.
func (o *Outbox) forgetRegisters() error {
	if o.readOnly {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(o.dir, segmentPrefix+"*"+registerSuffix))
	if err != nil {
		return fmt.Errorf("list registers: %w", err)
	}
	kept := o.journal.list()
	removed := false
	for _, p := range paths {
		if slices.ContainsFunc(kept, func(s *segment) bool {
			return registerPath(s.path) == p && s.register != nil && s.register.file != nil
		}) {
			continue
		}
		if err := removeRegister(p); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return durable.SyncDir(o.dir)
}

func registerPath(segmentPath string) string {
	return strings.TrimSuffix(segmentPath, segmentSuffix) + registerSuffix
}

// peekEvents gives the head of every readable event of a segment at or above
// `from` to fn, but for carried ones.
func (o *Outbox) peekEvents(s *segment, from uint64, fn func(seq uint64, h *codec.Head) error) error {
	next, more := from, true
	var enough error // what fn ended it with
	seen := func(seq uint64, h *codec.Head) {
		if enough == nil {
			enough = fn(seq, h)
			next = seq + 1
		}
	}
	for more {
		err := o.journal.view(s, func(tx *bolt.Tx) error {
			next, more = s.peekRun(tx, next, seen)
			return nil
		})
		switch {
		case enough != nil:
			return enough
		case errors.Is(err, ErrDamaged):
			return o.peekSingly(s, next, fn)
		case err != nil:
			return err
		}
	}
	return nil
}

// peekSingly does so with a search for each number: what comes after a page that
// cannot be read is not hidden by it.
func (o *Outbox) peekSingly(s *segment, from uint64, fn func(seq uint64, h *codec.Head) error) error {
	for last := o.lastIn(s); from <= last; from += peekChunk {
		seqs := make([]uint64, min(peekChunk, last+1-from))
		for i := range seqs {
			seqs[i] = from + uint64(i)
		}
		_, err := o.readEvents(seqs, func(seq uint64, body []byte) error {
			h, err := codec.PeekEvent(body)
			if err == nil {
				err = fn(seq, &h)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bytes is what the file takes.
func (r *register) bytes() int64 {
	if r == nil {
		return 0
	}
	if info, err := os.Stat(r.path); err == nil {
		return info.Size()
	}
	return 0
}
