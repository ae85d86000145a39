package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/format"
	"scanrelay/store/repair"
)

// Damage tells what was found damaged, a line for each file; nothing if all is
// whole.
func (j *Journal) Damage() []string { return j.damage }

// spec is what is known of a segment that is to be rebuilt.
func (j *Journal) spec(s *segment) repair.Segment {
	spec := repair.Segment{Path: s.path, Number: s.number, Format: s.format, Begun: s.begun, Cipher: s.cipher, State: j.state.Clone()}
	if next := j.after(s.number); next != nil {
		spec.Until = next.first
	}
	return spec
}

// mend rebuilds a segment of all that can be read of it.
func (j *Journal) mend(s *segment, cause error) error {
	j.opts.Logger.Error("segment is damaged", "file", s.name(), "error", cause)
	if n := len(j.segments); n > 0 && s == j.segments[n-1] {
		j.rollFirst = true
	}
	if err := j.handles.shut(s); err != nil {
		return fmt.Errorf("rebuild segment %d: %w", s.number, err)
	}
	r, err := repair.Replace(j.spec(s))
	if err != nil {
		return fmt.Errorf("rebuild segment %d: %w", s.number, err)
	}
	if s.rebuilt = r.Found; r.Found {
		s.first, s.last, s.size = r.Meta.First, r.Meta.First-1, r.Meta.Size
	} else {
		j.lastAside, s.path = s.number, ""
	}
	j.damage = append(j.damage, r.Report)
	j.opts.Logger.Error("segment was rebuilt of what could be read", "damage", r.Report)
	return nil
}

// mendUnread rebuilds a segment of which not even the head could be read. It
// returns its state; nil if nothing at all could be read.
func (j *Journal) mendUnread(s *segment, cause error) (*format.State, error) {
	if j.keys == nil { // without the keys nothing may be given up
		_, err := crypt.Open(j.dir, false, false)
		return nil, errors.Join(err, cause)
	}
	s.cipher = j.keys.Cipher(s.number)
	if err := j.mend(s, cause); err != nil || s.path == "" {
		return nil, err
	}
	return j.openSegment(s)
}

// mendKnown rebuilds, before they are loaded, segments in which damage was met,
// and those that would send a reader in circles.
func (j *Journal) mendKnown() error {
	names, err := j.unreadable()
	if err != nil {
		return err
	}
	for _, s := range j.list() {
		if s.rebuilt {
			continue
		}
		var bad error
		if slices.Contains(names, s.name()) {
			bad = repair.Check(s.path, s.cipher)
		}
		if bad == nil { // a void meta page of a sealed one: bbolt reads it as it was one transaction before its end
			bad = boltpage.CheckBranches(s.path, j.after(s.number) != nil)
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
// them: every page and record is looked at, and a segment that is damaged is read
// from a mended copy in the folder scratch. Load comes next. An error that is
// fs.ErrNotExist: there are none.
func OpenDamaged(dir, scratch string, opts Options) (*Journal, error) {
	return openReading(dir, opts, func(j *Journal) (err error) {
		j.fresh = !crypt.Exists(dir)
		if j.keys, err = crypt.Open(dir, true, j.fresh); err != nil {
			return err
		}
		return j.openAll(func(s *segment) (*format.State, error) { return j.salvage(s, scratch) })
	})
}

// salvage opens a segment, or the mended copy of one.
func (j *Journal) salvage(s *segment, scratch string) (*format.State, error) {
	s.cipher = j.keys.Cipher(s.number)
	st, err := j.openSegment(s)
	if err == nil && s.number <= st.Dropped {
		return nil, nil // only its unlinking was missing
	}
	if err == nil {
		err = repair.Check(s.path, s.cipher)
	}
	if !damaged(err) {
		return st, err
	}
	if err := j.handles.shut(s); err != nil {
		return nil, err
	}
	temp := filepath.Join(scratch, s.name())
	r, err := repair.Rebuild(j.spec(s), temp)
	if err != nil {
		return nil, err
	}
	j.damage = append(j.damage, r.Report)
	if !r.Found {
		return nil, nil
	}
	s.path, s.rebuilt = temp, true
	return j.openSegment(s)
}
