package journal

import (
	"errors"
	"fmt"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/handle"
	"scanrelay/store/register"
)

// Find lists the numbers of the waybills' events from one number to another,
// rising. It looks only into segments that holds says to have something between
// two numbers, and at what was carried. Some may be of other waybills, and some
// may be gone.
func (j *Journal) Find(ids []scan.WaybillID, from, to uint64, holds func(first, last uint64) bool) (seqs []uint64, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	for _, r := range j.ranges(from, to) {
		if !holds(r.first, r.last) {
			continue
		}
		some, err := j.registered(r.s, ids)
		if err != nil && !errors.Is(err, handle.ErrGone) {
			return nil, fmt.Errorf("look for waybills: %w", err)
		}
		seqs = append(seqs, some...)
	}
	// Last, since what is in a segment may be carried away meanwhile.
	seqs = append(seqs, j.carriedOf(ids)...)
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	return slices.DeleteFunc(seqs, func(seq uint64) bool { return seq < from || seq > to }), nil
}

// segmentRange is which numbers a segment has of those that are asked for.
type segmentRange struct {
	s           *segment
	first, last uint64
}

// ranges lists the segments that have numbers from one to another.
func (j *Journal) ranges(from, to uint64) (list []segmentRange) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		if first, last := max(from, s.first), min(to, s.last); first <= last {
			list = append(list, segmentRange{s, first, last})
		}
	}
	return list
}

// carriedOf lists the carried events of waybills.
func (j *Journal) carriedOf(ids []scan.WaybillID) []uint64 {
	j.mu.RLock()
	none := len(j.carried) == 0
	j.mu.RUnlock()
	if none {
		return nil
	}
	hashes, hash := make(map[uint64]bool, len(ids)), j.checkpoint.Hasher()
	for _, id := range ids {
		hashes[hash([]byte(id))] = true
	}
	return j.carriedWhere(func(_ uint64, c carriedEvent) bool { return hashes[c.waybill] })
}

// registered lists the numbers of the events in a segment that are of waybills;
// perhaps some that are not.
func (j *Journal) registered(s *segment, ids []scan.WaybillID) (seqs []uint64, err error) {
	if s.register == nil {
		return j.readFor(s, ids)
	}
	slots, err := j.lookUp(s, ids)
	if errors.Is(err, durable.ErrDamaged) {
		j.opts.Logger.Warn("register is damaged and made again", "segment", s.number, "error", err)
		s.register.Discard()
		slots, err = j.lookUp(s, ids)
	}
	if errors.Is(err, register.ErrGone) {
		err = handle.ErrGone
	}
	for _, slot := range slots {
		seqs = append(seqs, s.first+slot)
	}
	return seqs, err
}

func (j *Journal) lookUp(s *segment, ids []scan.WaybillID) ([]uint64, error) {
	if err := j.fill(s, nil); err != nil {
		return nil, err
	}
	return s.register.Find(ids)
}

// readFor looks for waybills in a segment without a register: its key is gone,
// or it is of format 1.
func (j *Journal) readFor(s *segment, ids []scan.WaybillID) (seqs []uint64, err error) {
	wanted := make(map[scan.WaybillID]bool, len(ids)) // there may be thousands
	for _, id := range ids {
		wanted[id] = true
	}
	err = j.peekEvents(s, s.first, func(seq uint64, h *codec.Head) error {
		if wanted[scan.WaybillID(h.Waybill)] {
			seqs = append(seqs, seq)
		}
		return nil
	})
	return seqs, err
}

// fill reads what a register lacks; a sealed segment's is saved then. It is given
// up with ErrClosed once stop is closed.
func (j *Journal) fill(s *segment, stop <-chan struct{}) error {
	f := s.register.Filler()
	if f == nil {
		return nil
	}
	err := j.peekEvents(s, s.first+f.From, func(seq uint64, h *codec.Head) error {
		f.Add(seq-s.first, h.Waybill)
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
	f.Done()
	if s != j.newest() {
		j.saveRegister(s)
	}
	return nil
}

// saveRegister writes a register's file. Without it what it holds stays in
// memory, until the end; then it is made again when somebody asks for it.
func (j *Journal) saveRegister(s *segment) {
	if j.readOnly {
		return
	}
	if err := s.register.Save(s.number); err != nil {
		j.opts.Logger.Warn("register cannot be written", "segment", s.number, "error", err)
	}
}

// completeRegister makes the register of a segment that was sealed into a file.
func (j *Journal) completeRegister(s *segment) {
	if s.register == nil {
		return
	}
	if err := j.fill(s, j.stop); err != nil {
		if !errors.Is(err, handle.ErrGone) && !errors.Is(err, event.ErrClosed) {
			j.opts.Logger.Warn("register cannot be made", "segment", s.number, "error", err)
		}
		return
	}
	if s != j.newest() {
		j.saveRegister(s)
	}
}

// completeRegisters makes what a crash left undone of registers, before somebody
// needs it and has to wait.
func (j *Journal) completeRegisters() {
	for _, s := range j.list() {
		j.completeRegister(s)
	}
}

// openRegisters gives each segment that was loaded its register. What is not of
// this segment as it is now is made again when it is asked for.
func (j *Journal) openRegisters() error {
	for _, s := range j.list() {
		s.register.Close()
		s.register = nil
		if s.cipher == nil || s.format < codec.Version {
			continue
		}
		s.register = newRegister(s, s.last+1-s.first)
		s.register.Open(s.number)
	}
	return j.forgetRegisters()
}

// forgetRegisters removes the files that were not taken, and those of segments
// that are gone, before anything is written.
func (j *Journal) forgetRegisters() error {
	if j.readOnly {
		return nil
	}
	paths, err := format.Registers(j.dir)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, s := range j.list() {
		kept[format.RegisterPath(s.Path)] = s.register != nil && s.register.Saved()
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return kept[p] })
	if err := register.Remove(paths...); err != nil || len(paths) == 0 {
		return err
	}
	return durable.SyncDir(j.dir)
}
