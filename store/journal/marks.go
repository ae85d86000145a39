package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"scanrelay/store/durable"
	"scanrelay/store/marks"
)

// readMarks reads how the last process left the folder. Of damaged marks nothing is
// believed.
func (j *Journal) readMarks() (err error) {
	if j.marks, err = marks.Open(j.dir); errors.Is(err, durable.ErrDamaged) {
		j.opts.Logger.Warn("how the outbox was left is not known", "error", err)
		err = nil
	}
	j.left = j.marks.Now()
	return err
}

// MarkSuspect: a sync of the newest segment failed, the next start must not write to it.
func (j *Journal) MarkSuspect() error { return j.marks.Suspect(j.newest().Name()) }

// MarkClean says, last of all, that everything was closed; waiting is what waits for data.
func (j *Journal) MarkClean(waiting []byte) error { return j.marks.Close(waiting) }

// MetDamage marks the segments of events that cannot be read: the next start
// reads these completely, and rebuilds them of what can be read. It returns what
// to say of it; "": nothing is new.
func (j *Journal) MetDamage(seqs []uint64) (what string, err error) {
	var names []string
	j.mu.RLock()
	for _, seq := range seqs {
		if s := j.findLocked(seq); s != nil && !s.lostLocked(seq) {
			names = append(names, s.Name())
		}
	}
	j.mu.RUnlock()
	slices.Sort(names)
	if names, err = j.marks.Unreadable(names...); err != nil || len(names) == 0 {
		return "", err
	}
	return strings.Join(names, ", ") + unreadable, nil
}

const unreadable = " holds events that cannot be read; a restart mends what can be mended"

// metDamage does so with a segment of which notes or branches cannot be read, and
// raises the alarm. It returns what to tell who asked for them.
func (j *Journal) metDamage(s *segment, cause error) error {
	told := fmt.Errorf("%s is damaged, a restart mends what can be mended: %w", s.Name(), cause)
	if j.readOnly {
		return told
	}
	news, err := j.marks.Unreadable(s.Name())
	if len(news) > 0 {
		j.opts.Logger.Error("a sealed segment is damaged; a restart mends what can be mended", "file", s.Name(), "error", cause)
		err = j.inWriter(func() error {
			j.damage = append(j.damage, s.Name()+unreadable)
			return j.tellDamage(j.NewBatch())
		})
	}
	return errors.Join(told, err)
}
