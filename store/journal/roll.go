package journal

import (
	"fmt"

	"scanrelay/store/codec"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// Roll seals the newest segment and begins another, if what is left then is
// enough for all outcomes. The writer calls it.
func (j *Journal) Roll() error {
	for {
		_, spares, _ := j.room()
		if spares > 0 && spares >= j.owed(&Batch{}, true) {
			return j.beginSpare()
		}
		if err := j.moreRoom(); err != nil {
			return err
		}
	}
}

// beginNext begins another segment, whatever is left then.
func (j *Journal) beginNext() error {
	for len(j.spares.Sizes()) == 0 {
		if err := j.moreRoom(); err != nil {
			return err
		}
	}
	return j.beginSpare()
}

// beginSpare makes the first spare segment the newest.
func (j *Journal) beginSpare() (err error) {
	newest := j.newest()
	st := j.State()
	s := j.segmentAt(max(newest.number, j.lastAside) + 1) // what was set aside keeps its number, and its key
	s.format, s.first, s.last, s.Begun = codec.Version, st.NextSeq, st.NextSeq-1, j.opts.Now()
	if s.cipher, err = j.keys.Add(s.number); err == nil {
		m := s.meta()
		err = j.spares.Begin(&m, st)
		s.Size = m.Size
	}
	if noSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return err
	}
	if err := j.handles.OpenForWriting(&s.File); err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	s.usedBytes = format.CommitOverhead
	s.register = newRegister(s, 0)
	j.handles.Seal(&newest.File)
	j.append(s)
	j.background.Go(func() {
		j.completeRegister(newest)
		j.keepSealed()
	})
	if err := j.marks.Begun(s.number); err != nil {
		return err
	}
	j.opts.Logger.Info("segment begun", "segment", s.number, "first", s.first, "bytes", s.Size)
	return nil
}

func newRegister(s *segment, end uint64) *register.Register {
	return register.New(format.RegisterPath(s.Path), s.cipher.MAC(register.Purpose), end)
}

// SegmentBytes is the size that the file system gives to a segment at present.
func (j *Journal) SegmentBytes() int64 { return j.newest().Size }
