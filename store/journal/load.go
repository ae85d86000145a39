package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"scanrelay/store/boltpage"
	"scanrelay/store/checkpoint"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/repair"
)

// Loader is what a start fills.
type Loader interface {
	Live
	// Reset forgets everything, and sets the watermark.
	Reset(watermark uint64)
	Load(f *event.Found)
	// WaitAgain has events wait as a mark says.
	WaitAgain(mark []byte)
	// Fill brings events into memory. bad is what of them cannot be read.
	Fill() (bad []uint64, err error)
}

// Load brings what is in the segments into memory, which is asked from then on.
// Segments that cannot be read are rebuilt, unless nothing may be written.
func (j *Journal) Load(into Loader) error {
	j.live = into
	if !j.readOnly {
		j.account = j.checkpoint.Read(j.oldest().number - 1)
		if err := j.mendKnown(); err != nil {
			return err
		}
	}
	kept := j.account != nil
	for {
		err := j.load(into)
		var bad *segmentError
		if err == nil {
			err = j.balance()
		}
		if err == nil && j.readOnly {
			j.foresee()
			err = j.tellReader()
		}
		switch {
		case errors.Is(err, checkpoint.ErrStale) && kept:
			kept = false
			j.opts.Logger.Warn("all segments are read", "error", err)
			if err = j.forgetAccount(); err == nil {
				err = j.mendKnown()
			}
		case !errors.As(err, &bad) || !boltpage.Damaged(err) || bad.s.rebuilt:
			return err
		default:
			err = j.mend(bad.s, bad.err)
		}
		if err != nil {
			return err
		}
		j.unload()
	}
}

// balance counts the events, below the first that is left, of which nothing is known: their
// segment is gone, or what it came to is, with the newest that said so. It takes back
// those that are there again.
func (j *Journal) balance() error {
	base, n := &j.state.Base, int64(j.state.NextSeq-1-j.totals.Received)
	if n = max(n, -int64(base.Outcome[event.Discarded])); n == 0 {
		return nil
	}
	for _, t := range []*format.Totals{base, &j.totals} {
		t.Received += uint64(n)
		t.Outcome[event.Discarded] += uint64(n)
	}
	line, err := fmt.Sprintf("%d numbers were given to events that are in no file, and how they ended is not known: they count as discarded", n), error(nil)
	if n < 0 {
		line = fmt.Sprintf("%d events that were in no file are there again", -n)
	} else if !j.readOnly {
		line, err = repair.Gone(j.dir, durable.AsideName(filepath.Join(j.dir, "outbox")), line)
		j.opts.Logger.Error("numbers do not add up", "what", line)
	}
	j.damage = append(j.damage, line)
	return err
}

// tellReader has counts tell what is known of damage.
func (j *Journal) tellReader() error {
	news := append(slices.Clone(j.damage), slices.DeleteFunc(slices.Clone(j.state.Damage), func(line string) bool {
		return !strings.HasSuffix(line, waitsForRoom) && !strings.HasSuffix(line, unreadable)
	})...)
	if len(news) == 0 && len(j.left.Unreadable) > 0 {
		news = append(news, strings.Join(j.left.Unreadable, ", ")+unreadable)
	}
	lines, err := j.alarm(news)
	j.state.Damage = lines
	return err
}

// forgetAccount: the segments are not what they were. What it knows is compared with them later.
func (j *Journal) forgetAccount() error {
	j.account = nil
	if j.readOnly {
		return nil
	}
	return j.checkpoint.SetAside()
}

// unload forgets what a load brought into memory.
func (j *Journal) unload() {
	j.totals = format.Totals{}
	clear(j.carried)
	for _, s := range j.segments {
		s.arrived = nil
	}
}

func (j *Journal) load(into Loader) error {
	into.Reset(j.state.Watermark)
	reach := uint64(0) // what is not believed may know of more than there is
	if j.unread = j.untouched(true); j.account == nil {
		_, reach, _ = j.checkpoint.Known().Knows(j.newest().number)
		j.account = j.checkpoint.New()
	}
	_, list := j.sources(j.segments)
	if err := j.account.ReadAll(list); err != nil {
		return err
	}
	if len(j.account.Segments) != len(list) {
		return fmt.Errorf("%w: the newest is missing", checkpoint.ErrStale)
	}
	tried, err := j.account.TriedNotes(list)
	if err != nil {
		return err
	}
	j.take(j.account, into)
	into.Load(&event.Found{Retried: j.account.Retried, Tried: tried})
	if err := j.findGap(reach); err != nil {
		return err
	}
	j.state.NextSeq = max(j.state.NextSeq, j.newest().last+1, 1)
	into.WaitAgain(j.left.Waiting)
	if err := j.openRegisters(); err != nil {
		return err
	}
	bad, err := into.Fill()
	if err != nil {
		return err
	}
	return j.findDamage(bad)
}

// findGap finds a segment that ends before the next one begins, or, the newest, before
// the number that a checkpoint reaches to: the end of it is lost, or all of one that came
// after it, however whole it is.
func (j *Journal) findGap(reach uint64) error {
	for i, s := range j.segments {
		end := reach
		if i+1 < len(j.segments) {
			end = j.segments[i+1].first
		}
		if s.last+1 < end && !s.rebuilt {
			return &segmentError{s, fmt.Errorf("%w: it ends with %d, and %d is due to follow", durable.ErrDamaged, s.last, end)}
		}
	}
	return nil
}

// take takes over what an account of all segments says.
func (j *Journal) take(a *checkpoint.Account, into Loader) {
	j.totals = j.state.Base
	for i, s := range j.segments {
		c := a.Segments[i]
		s.last, s.notes, s.open, s.totals, s.weights = c.Last, c.Notes, c.Open, c.Totals, c.Weights
		s.Finished, s.Unclear, s.usedBytes = c.Finished, c.Unclear, c.Used
		s.weights.Estimate(int(s.last+1-s.first), s.usedBytes-format.CommitOverhead, s.notes)
		j.totals.Add(&s.totals)
		for seq, e := range c.Arrived {
			s.arrived = append(s.arrived, seq)
			if a.At(seq) == c {
				j.carried[seq] = carriedEvent{s, e.Waybill, e.Later}
			}
		}
		pending, dead := c.Unfinished()
		into.Load(&event.Found{Pending: pending, Dead: dead})
	}
}

// findDamage looks why events cannot be read: an error names a segment with damage
// that a rebuild has not seen. Nothing is rebuilt for a reader.
func (j *Journal) findDamage(bad []uint64) error {
	if j.readOnly {
		return nil
	}
	seen := map[*segment]bool{}
	for _, seq := range bad {
		s := j.find(seq)
		if s == nil || s.rebuilt || seen[s] {
			continue
		}
		seen[s] = true
		if err := repair.Check(s.Path, s.cipher); err != nil {
			return &segmentError{s, err}
		}
	}
	return nil
}

// segmentError says which segment could not be read.
type segmentError struct {
	s   *segment
	err error
}

func (e *segmentError) Error() string { return fmt.Sprintf("read segment %d: %v", e.s.number, e.err) }
func (e *segmentError) Unwrap() error { return e.err }
