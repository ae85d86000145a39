package journal

import (
	"errors"
	"fmt"

	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// Retire unlinks the oldest segments that are finished and past retain, and ends
// the newest one after half of retain: in a depot with few scans it would else
// take months to fill, and personal data would stay as long. The writer calls it.
func (j *Journal) Retire() error {
	if u := j.Usage(); u.Crowded != j.crowded {
		if j.crowded = u.Crowded; u.Crowded {
			j.opts.Logger.Error("dead letters fill 15 % of the store: retry or discard them; from 25 % on the oldest are discarded", "bytes", u.Dead)
		}
	}
	j.mendWaiting()
	err := j.rollByAge()
	for err == nil {
		err = j.DropOldest(false)
	}
	if errors.Is(err, ErrNoSpace) {
		err = nil
	}
	if err == nil {
		err = j.keepSeen()
	}
	return errors.Join(err, j.keys.Finish())
}

// clock is what tells how old segments are.
func (j *Journal) clock() format.Clock { return format.Clock{Now: j.opts.Now(), Retain: j.opts.Retain} }

// keepSeen writes what was seen first. Where there is no room for it, it has time.
func (j *Journal) keepSeen() error {
	if !j.state.Unkept {
		return nil
	}
	err := j.writeAlone(j.NewBatch())
	if errors.Is(err, ErrNoSpace) {
		return nil
	}
	j.mu.Lock()
	j.state.Unkept = err != nil
	j.mu.Unlock()
	return err
}

func (j *Journal) rollByAge() error {
	s, c := j.newest(), j.clock()
	j.mu.Lock()
	young := s.last < s.first || c.Now.Sub(j.state.BegunAt(s.number, &s.Age, c)) <= c.Retain/2
	j.mu.Unlock()
	if young {
		return nil
	}
	if err := j.Roll(); !errors.Is(err, ErrNoSpace) {
		return err
	}
	return nil
}

// DropOldest unlinks the oldest segment if everything in it is synced, and
// finished or carried, and past retain or force is set: retain yields to max_size.
// Its totals are committed before; should a crash come between, the next start
// unlinks it. ErrNoSpace if it cannot go, or not yet: what is unfinished in it is
// carried aside then. The writer calls it.
func (j *Journal) DropOldest(force bool) error {
	s := j.oldest()
	if !j.droppable(s, force) {
		return ErrNoSpace
	}
	if s.open > 0 {
		if j.worthwhile(force) {
			j.startClearing(s, force)
		}
		return ErrNoSpace
	}
	b := j.NewBatch()
	b.State.Base.Add(&s.totals)
	b.State.Dropped = s.number
	b.State.Prune(func() uint64 { return j.oldestLeft(s) })
	if err := j.writeAlone(b); err != nil {
		return fmt.Errorf("drop segment %d: %w", s.number, err)
	}
	if err := j.marks.Unlinking(b.State.EncodeBase()); err != nil { // the newest may lose it
		return err
	}
	if err := j.drop(s); err != nil {
		return err
	}
	j.opts.Logger.Info("segment dropped", "segment", s.number, "events", s.totals.Received)
	if s.waits != nil {
		return j.tellDamage(j.NewBatch())
	}
	return nil
}

// droppable leaves open whether something in a segment is unfinished.
func (j *Journal) droppable(s *segment, force bool) bool {
	if s == j.newest() {
		return false
	}
	watermark, c := j.live.Watermark(), j.clock()
	j.mu.Lock()
	defer j.mu.Unlock()
	return s.last <= watermark && (force || c.Now.Sub(j.state.EndedAt(s.number, &s.Age, s.last >= s.first, c)) > c.Retain)
}

// oldestLeft returns the lowest number that is still held once s is dropped.
func (j *Journal) oldestLeft(s *segment) uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	oldest := s.last + 1
	for seq, c := range j.carried {
		if c.segment != s {
			oldest = min(oldest, seq)
		}
	}
	return oldest
}

// drop unlinks a segment, and destroys its key. Its totals must be committed
// before.
func (j *Journal) drop(s *segment) error {
	if s.waits != nil { // it is damaged, and kept
		name := durable.AsideName(s.Path)
		if err := durable.SetAside(s.Path, name); err != nil {
			return err
		}
		j.retell(s, s.lacks.Report+"; kept as "+name)
	}
	j.mu.Lock()
	j.forgetLocked(s)
	j.mu.Unlock()
	if err := j.handles.Unlink(&s.File); err != nil {
		return err
	}
	s.register.Close()
	if err := register.Remove(format.RegisterPath(s.Path)); err != nil {
		return err
	}
	if err := durable.SyncDir(j.dir); err != nil {
		return err
	}
	return j.keys.Keep(func(n uint64) bool { return n != s.number || s.waits != nil })
}

// Usage is what a journal takes of the disk, in bytes.
type Usage struct {
	Disk int64 // what its files take
	All  int64 // what they are reckoned with against max_size
	Live int64 // what the segments hold that could not be dropped now, about
	Dead int64 // what dead letters take of it, about
	// Crowded: they take so much that somebody has to look at them.
	Crowded bool
	// Unreserved of the newest and the spare segments another program could take.
	Unreserved int64
	Clearing   bool // the oldest segment is being cleared
}

// Usage looks at memory, and at the files that may change.
func (j *Journal) Usage() Usage {
	u := Usage{All: j.bytes(), Dead: j.deadBytes(), Clearing: j.clearing.Load()}
	_, u.Disk = j.checkpoint.Bytes()
	u.Crowded = u.Dead > j.capacity()/crowdedShare
	now, spares, sizes := j.opts.Now(), j.spares.Paths(), j.spares.Sizes()
	for i := range min(len(spares), len(sizes)) {
		u.Unreserved += durable.Unreserved(spares[i], sizes[i])
		u.Disk += durable.OnDisk(spares[i])
	}
	list := j.list()
	for i, s := range list {
		onDisk := s.onDisk.Load()
		if onDisk == 0 {
			onDisk = durable.OnDisk(s.Path)
		}
		if i == len(list)-1 {
			u.Unreserved += durable.Unreserved(s.Path, s.Size)
		} else {
			s.onDisk.Store(onDisk)
		}
		u.Disk += onDisk + s.register.Bytes()
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range list {
		if s.open > 0 || s == list[len(list)-1] || now.Sub(s.Finished) <= j.opts.Retain {
			u.Live += s.usedBytes
		}
	}
	return u
}
