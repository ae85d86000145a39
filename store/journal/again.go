package journal

import (
	"errors"
	"fmt"
	"slices"

	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/register"
	"scanrelay/store/repair"
)

// alarm says what is known of damage, for people.
func (j *Journal) alarm(news []string) ([]string, error) {
	reports := map[uint64]string{}
	for _, s := range j.list() {
		if s.lacks != nil && s.waits == nil { // of the others news tell
			reports[s.number] = s.lacks.Report
		}
	}
	return repair.Alarm(j.dir, news, j.state.Damage, reports)
}

// retell has the alarm say something else of a segment that waits.
func (j *Journal) retell(s *segment, lines ...string) {
	waits := s.lacks.Report + waitsForRoom
	j.damage = append(slices.DeleteFunc(j.damage, func(l string) bool { return l == waits }), lines...)
}

// tellDamage has status tell what is known of damage, and writes that with b, if it
// is another than before or b is written anyway.
func (j *Journal) tellDamage(b *Batch) error {
	lines, err := j.alarm(j.damage)
	if err != nil {
		return err
	}
	b.State.Damage, b.State.Unmended = lines, nil
	for _, s := range j.list() {
		if s.waits != nil {
			b.State.Unmended = append(b.State.Unmended, s.number)
		}
	}
	if !b.Whole && slices.Equal(lines, j.state.Damage) {
		return nil
	}
	err = j.writeAlone(b)
	if errors.Is(err, ErrNoSpace) { // on disk with whatever is written whole next
		j.mu.Lock()
		j.state.Damage, j.state.Unmended = b.State.Damage, b.State.Unmended
		j.mu.Unlock()
	}
	return err
}

// lookAgain looks at what was set aside of the segments that lack something, and
// puts into them what can be read by now.
func (j *Journal) lookAgain() error {
	for _, s := range j.segments {
		if s.lacks == nil || s.rebuilt || len(s.lacks.Lost) == 0 && s.lacks.Notes == 0 {
			continue
		}
		again, err := durable.Aside(j.dir, format.Name(s.number))
		if err != nil {
			return fmt.Errorf("list damaged files: %w", err)
		}
		for _, path := range again {
			if repair.HasMore(j.spec(s), s.lacks, path) {
				if err := j.merge(s, again); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// merge rebuilds a segment of itself and of what was set aside of it.
func (j *Journal) merge(s *segment, again []string) error {
	if err := errors.Join(j.handles.Shut(&s.File), j.forgetAccount()); err != nil {
		return err
	}
	if err := register.Remove(format.RegisterPath(s.Path)); err != nil { // it lacks the same
		return err
	}
	spec := j.spec(s)
	spec.Again = again
	r, err := repair.Merge(spec)
	if durable.NoSpace(err) {
		return nil // another time
	}
	if err != nil {
		return fmt.Errorf("read segment %d again: %w", s.number, err)
	}
	j.foundAgain = append(j.foundAgain, s.lacks.Lost...)
	j.opts.Logger.Warn("what could not be read of a segment was read now", "file", s.Name(), "now", r.Report)
	_, err = j.openSegment(s)
	return err
}

// FoundAgain picks those of the events that could not be read before this start,
// and whose segment was looked at again.
func (j *Journal) FoundAgain(seqs []uint64) (found []uint64) {
	for _, seq := range seqs {
		merged := slices.ContainsFunc(j.foundAgain, func(l format.Span) bool { return l.From <= seq && seq <= l.To })
		if s := j.find(seq); merged || s != nil && j.lookedAt[s.Name()] {
			found = append(found, seq)
		}
	}
	return found
}

// FirstFoundAgain returns the first event that was merged at this start; 0: none
// was.
func (j *Journal) FirstFoundAgain() (first uint64) {
	for _, l := range j.foundAgain {
		if first == 0 || l.From < first {
			first = l.From
		}
	}
	return first
}
