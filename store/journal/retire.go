package journal

import (
	"errors"
	"fmt"
	"time"

	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// believable is a moment before which no clock is right. A finish that seems
// to lie before counts from when it is looked at.
var believable = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Retire unlinks the oldest segments that are finished and past retain, and ends
// the newest one after half of retain: in a depot with few scans it would else
// take months to fill, and personal data would stay as long. The writer calls it.
func (j *Journal) Retire() error {
	err := j.rollByAge()
	for err == nil {
		err = j.DropOldest(false)
	}
	if errors.Is(err, ErrNoSpace) {
		err = nil
	}
	return errors.Join(err, j.keys.Finish())
}

func (j *Journal) rollByAge() error {
	s, now := j.newest(), j.opts.Now()
	j.mu.Lock()
	if s.begun.Before(believable) {
		s.begun = now
	}
	young := s.last < s.first || now.Sub(s.begun) <= j.opts.Retain/2
	j.mu.Unlock()
	if young {
		return nil
	}
	if err := j.roll(true); !errors.Is(err, ErrNoSpace) {
		return err
	}
	return nil
}

// DropOldest unlinks the oldest segment if everything in it is synced, and
// finished but for a few events that are carried along, and past retain or
// force is set: retain yields to max_size. Its totals are committed before;
// should a crash come between, the next start unlinks it. ErrNoSpace if it
// cannot go. The writer calls it.
func (j *Journal) DropOldest(force bool) error {
	s := j.oldest()
	if !j.droppable(s, force) {
		return ErrNoSpace
	}
	b, err := j.carryFrom(s)
	if err != nil {
		return fmt.Errorf("drop segment %d: %w", s.number, err)
	}
	if b == nil {
		return ErrNoSpace
	}
	st := b.State
	st.Base.Add(&s.totals)
	st.Base.Received -= uint64(len(b.carried))
	for i := range b.notes {
		if b.notes[i].Outcome == event.Dead {
			st.Base.Outcome[event.Dead]--
		}
	}
	st.Dropped = s.number
	st.Prune(j.oldestLeft(s, b.carried))
	if err := j.writeAlone(b); err != nil {
		return fmt.Errorf("drop segment %d: %w", s.number, err)
	}
	if err := j.drop(s); err != nil {
		return err
	}
	j.opts.Logger.Info("segment dropped", "segment", s.number, "events", s.totals.Received, "carried", len(b.carried))
	return nil
}

// droppable leaves open whether what is unfinished can be carried.
func (j *Journal) droppable(s *segment, force bool) bool {
	if s == j.newest() {
		return false
	}
	watermark := j.live.Watermark()
	j.mu.Lock()
	defer j.mu.Unlock()
	if s.open > maxCarry || s.last > watermark {
		return false
	}
	now := j.opts.Now()
	if s.finished.Before(believable) {
		s.finished = now
	}
	return force || now.Sub(s.finished) > j.opts.Retain
}

// oldestLeft returns the lowest number that is still held once s is dropped.
func (j *Journal) oldestLeft(s *segment, carried []newEvent) uint64 {
	oldest := s.last + 1
	for _, e := range carried {
		oldest = min(oldest, e.seq)
	}
	if left := j.carriedWhere(func(_ uint64, c carriedEvent) bool { return c.segment != s }); len(left) > 0 {
		oldest = min(oldest, left[0])
	}
	return oldest
}

// writeAlone commits a batch to the newest segment, and takes it into memory. No
// segment is begun for it.
func (j *Journal) writeAlone(b *Batch) error {
	b.segment, b.rolled, b.Whole = j.newest(), true, true
	err := j.write(b, func() error { return nil })
	if err == nil {
		j.Applied(b)
	}
	return err
}

// drop unlinks a segment, and destroys its key. Its totals must be committed
// before.
func (j *Journal) drop(s *segment) error {
	j.mu.Lock()
	j.forgetLocked(s)
	j.mu.Unlock()
	if err := j.handles.unlink(s); err != nil {
		return err
	}
	s.register.Close()
	if err := register.Remove(format.RegisterPath(s.path)); err != nil {
		return err
	}
	if err := durable.SyncDir(j.dir); err != nil {
		return err
	}
	return j.keys.Keep(func(n uint64) bool { return n != s.number })
}

// Used is what the files take on disk, and what the segments hold that could not
// be dropped now, about; both in bytes.
func (j *Journal) Used() (paths []string, live int64) {
	now := j.opts.Now()
	j.mu.RLock()
	defer j.mu.RUnlock()
	for i, s := range j.segments {
		paths = append(paths, s.path, format.RegisterPath(s.path))
		if s.open > 0 || i == len(j.segments)-1 || now.Sub(s.finished) <= j.opts.Retain {
			live += s.usedBytes
		}
	}
	return paths, live
}
