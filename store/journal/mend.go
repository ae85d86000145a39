package journal

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/repair"
)

// Damage tells what was found damaged, a line for each file.
func (j *Journal) Damage() []string { return j.damage }

// spec is what is known of a segment that is to be rebuilt.
func (j *Journal) spec(s *segment) repair.Segment {
	first, reach, carried := j.checkpoint.Known().Knows(s.number)
	spec := repair.Segment{Path: s.Path, Number: s.number, Format: s.format, Begun: s.Begun, Cipher: s.cipher, State: j.state.Clone(), First: cmp.Or(s.first, first), Carried: carried}
	if next := j.after(s.number); next != nil {
		spec.Until = next.first
	} else {
		spec.AtLeast = reach
	}
	return spec
}

// mend rebuilds a segment of all that can be read of it.
func (j *Journal) mend(s *segment, cause error) error {
	log := j.opts.Logger
	if j.readOnly { // it says so itself
		log = slog.New(slog.DiscardHandler)
	}
	log.Error("segment is damaged", "file", s.Name(), "error", cause)
	if n := len(j.segments); n > 0 && s == j.segments[n-1] {
		j.rollFirst = true
	}
	if err := errors.Join(j.handles.Shut(&s.File), j.forgetAccount()); err != nil {
		return fmt.Errorf("rebuild segment %d: %w", s.number, err)
	}
	how, spec := repair.Replace, j.spec(s)
	if j.readOnly {
		how = repair.Gather
	}
	r, err := how(spec)
	if err != nil {
		return fmt.Errorf("rebuild segment %d: %w", s.number, err)
	}
	j.damage = append(j.damage, r.Report)
	s.rebuilt, s.lacks = r.Found, &format.Rebuilt{Report: r.Report, Lost: r.Lost}
	if r.Instead == nil || !r.Found {
		log.Error("segment was rebuilt of what could be read", "damage", r.Report)
	} else if !j.readOnly {
		s.waits = &spec
		j.damage[len(j.damage)-1] += waitsForRoom
		log.Error("segment is read as far as it can be; it is rebuilt once the disk has room", "damage", r.Report, "bytes", rebuildSize(s))
	}
	if !r.Found {
		j.lastAside, s.Path = max(j.lastAside, s.number), ""
		return nil
	}
	s.first, s.last, s.Size = r.Meta.First, r.Meta.First-1, r.Meta.Size
	j.handles.ReadInstead(&s.File, r.Instead)
	return nil
}

// waitsForRoom is added to the report of a segment that waits.
const waitsForRoom = "; it is read as it is, and rebuilt once the disk has room"

// rebuildSize is what rebuilding a segment may take of the disk.
func rebuildSize(s *segment) int64 { return 2*s.Size + format.DiskMargin }

// mendWaiting rebuilds, aside, a segment for which there was no room. The writer
// calls it.
func (j *Journal) mendWaiting() {
	for _, s := range j.list() {
		if s.waits != nil && durable.Free(j.dir) > rebuildSize(s) && j.mending.CompareAndSwap(false, true) {
			spec := *s.waits
			j.background.Go(func() {
				defer j.mending.Store(false)
				r, err := repair.Prepare(&spec)
				if err == nil {
					err = j.inWriter(func() error { return j.mendNow(s, &spec, r) })
				}
				if err != nil && !durable.NoSpace(err) && !errors.Is(err, event.ErrClosed) {
					j.opts.Logger.Error("damaged segment cannot be rebuilt yet", "segment", s.number, "error", err)
				}
			})
		}
	}
}

// mendNow puts a rebuilt segment in its place. What more could be read this time is
// put back by the next start.
func (j *Journal) mendNow(s *segment, spec *repair.Segment, r *repair.Rebuilt) error {
	if j.after(s.number-1) != s { // it was dropped
		return spec.Discard()
	}
	if err := errors.Join(j.checkpoint.SetAside(), repair.Exchange(spec, r)); err != nil {
		return err
	}
	j.handles.ReadInstead(&s.File, nil)
	j.retell(s)
	j.mu.Lock()
	s.waits, s.Size, s.lacks = nil, r.Meta.Size, &format.Rebuilt{Report: r.Report, Lost: r.Lost}
	j.mu.Unlock()
	s.onDisk.Store(0)
	j.opts.Logger.Warn("there is room again: a damaged segment was rebuilt", "damage", r.Report)
	if _, err := j.marks.Unreadable(s.Name()); err != nil {
		return err
	}
	return j.tellDamage(j.NewBatch())
}

// mendUnread rebuilds a segment of which not even the head could be read, and puts it
// into the row, if anything could. before is the state of the one before it.
func (j *Journal) mendUnread(s *segment, before *format.State, cause error) (err error) {
	if j.keys == nil { // without the keys nothing may be given up
		if j.keys, err = crypt.Open(j.dir, j.readOnly, false); err != nil {
			return errors.Join(err, cause)
		}
	}
	s.cipher = j.keys.Cipher(s.number)
	newest := j.state
	j.state = *before // that it may lack
	err = j.mend(s, cause)
	if j.state = newest; err != nil || s.Path == "" {
		return err
	}
	st, err := j.openSegment(s)
	if err != nil {
		return fmt.Errorf("segment %d: %w", s.number, err)
	}
	if j.after(s.number) == nil {
		j.state = *st
	}
	j.append(s)
	slices.SortFunc(j.segments, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return nil
}

// mendKnown rebuilds, before they are loaded, segments in which damage was met,
// and those that would send a reader in circles.
func (j *Journal) mendKnown() error {
	j.lookedAt = map[string]bool{}
	for _, n := range j.left.Unreadable {
		j.lookedAt[n] = true
	}
	untouched := j.untouched(false)
	for _, s := range j.list() {
		if s.rebuilt {
			continue
		}
		var bad error
		if slices.Contains(j.state.Unmended, s.number) {
			j.lookedAt[s.Name()] = true
		}
		if j.lookedAt[s.Name()] {
			bad = repair.Check(s.Path, s.cipher)
		}
		switch { // with a void meta page a sealed one reads as it was one transaction before its end
		case bad != nil:
		case slices.Contains(untouched, s): // the rest is looked at aside
			bad = boltpage.CheckMetas(s.Path)
		default:
			bad = boltpage.CheckBranches(s.Path, j.after(s.number) != nil)
		}
		if bad != nil {
			if err := j.mend(s, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

// OpenDamaged opens the segments in dir for reading, whatever can be read of
// them: every page and record is looked at. Nothing is changed. Load comes next. An
// error that is fs.ErrNotExist: there are none.
func OpenDamaged(dir string, opts Options) (*Journal, error) {
	return openReading(dir, opts, func(s *segment) error { return repair.Check(s.Path, s.cipher) })
}
