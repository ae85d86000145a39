package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/repair"
)

// opening is what is known only while a journal is opened.
type opening struct {
	fresh     bool     // nothing is encrypted yet
	waiting   []byte   // what waited for data at a clean stop
	lastAside uint64   // number of the last segment of which nothing could be read
	rollFirst bool     // the newest segment must not be written to
	newEpoch  string   // why one is due: what the centre knows of this store cannot be taken for granted
	damage    []string // what was found damaged
}

// Open opens the segments in dir for writing. What is damaged is rebuilt. Load
// and Start come next.
func Open(dir string, opts Options) (*Journal, error) {
	j := newJournal(dir, opts)
	if err := j.open(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal) open() error {
	if err := durable.RemoveTemps(j.dir); err != nil {
		return err
	}
	if err := j.openSegments(); err != nil {
		return err
	}
	clean, err := j.takeCleanMark()
	if err != nil {
		return err
	}
	return j.openNewest(clean)
}

// openSegments reads the head of every segment and the state of the newest.
// Those whose totals are already in the state are unlinked.
func (j *Journal) openSegments() (err error) {
	if crypt.Exists(j.dir) {
		if j.keys, err = crypt.Open(j.dir, false, false); err != nil {
			return err
		}
	}
	err = j.openAll(func(s *segment) (*format.State, error) {
		st, err := j.openSegment(s)
		if damaged(err) {
			j.fresh = false
			return j.mendUnread(s, err)
		}
		return st, err
	})
	if err != nil {
		return err
	}
	j.forgetDamage()
	if err := j.openKeys(); err != nil {
		return err
	}
	if len(j.segments) == 0 {
		return j.firstSegment()
	}
	if err := j.dropCounted(); err != nil {
		return err
	}
	return j.forgetKeys()
}

// openAll puts the segments in the folder into the row. open reads one's state;
// none: it is left out. The newest one's is the journal's.
func (j *Journal) openAll(open func(*segment) (*format.State, error)) error {
	numbers, err := format.List(j.dir)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		s := j.segmentAt(n)
		st, err := open(s)
		if err != nil {
			return fmt.Errorf("segment %d: %w", n, err)
		}
		if st == nil {
			continue
		}
		j.fresh = j.fresh && s.format == 1
		j.append(s)
		j.state = *st
	}
	return nil
}

// openSegment reads a segment's head and its state.
func (j *Journal) openSegment(s *segment) (st *format.State, err error) {
	s.size = fileSize(s.path)
	err = j.handles.view(s, func(tx *bolt.Tx) error {
		m, err := format.LoadMeta(tx)
		if err != nil {
			return err
		}
		s.first, s.last, s.size, s.begun, s.format = m.First, m.First-1, m.Size, m.Begun, m.Format
		if st, err = format.LoadState(tx.Bucket(format.BucketState)); err != nil {
			return err
		}
		return checkNumbers(tx, m.First, st.NextSeq)
	})
	return st, err
}

// checkNumbers finds numbers that cannot be: what is in memory is laid out by
// them, and one of no sense would take all of it.
func checkNumbers(tx *bolt.Tx, first, next uint64) error {
	if k, _ := tx.Bucket(format.BucketEvents).Cursor().Last(); k != nil && codec.Seq(k) >= next {
		return fmt.Errorf("%w: event %d is beyond the last, %d", durable.ErrDamaged, codec.Seq(k), next-1)
	}
	c := tx.Bucket(format.BucketCarried).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if seq := codec.Seq(k); seq == 0 || seq >= first {
			return fmt.Errorf("%w: event %d is carried into a segment that begins at %d", durable.ErrDamaged, seq, first)
		}
	}
	return nil
}

// damaged tells whether an error means that the file is damaged, and not that
// it is newer, held or out of reach.
func damaged(err error) bool {
	for _, damage := range []error{durable.ErrDamaged, bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return true
		}
	}
	var path *fs.PathError
	return err != nil && !errors.As(err, &path) && strings.Contains(err.Error(), "file size too small")
}

// openKeys gives each segment its key. One that has none although the keys are
// whole is a matter for a person: nothing is changed.
func (j *Journal) openKeys() (err error) {
	if j.keys == nil {
		if j.keys, err = crypt.Open(j.dir, j.readOnly, j.fresh); err != nil {
			return err
		}
	}
	if w := j.keys.Warning(); w != "" {
		j.opts.Logger.Warn("store's key", "what", w)
	}
	for _, s := range j.segments {
		s.cipher = j.keys.Cipher(s.number)
		if s.cipher == nil && s.format > 1 && s.number > j.state.Dropped && j.keys.Whole() {
			return fmt.Errorf("%w: %s is older than %s: put the newer one back", crypt.ErrKey, crypt.FileName, s.name())
		}
	}
	return nil
}

// forgetKeys destroys the keys of segments that are gone. What was set aside
// keeps its key until a person removes it.
func (j *Journal) forgetKeys() error {
	return j.keys.Keep(func(number uint64) bool {
		kept, err := filepath.Glob(filepath.Join(j.dir, format.Name(number)+"*"))
		return err != nil || len(kept) > 0
	})
}

func (j *Journal) firstSegment() (err error) {
	j.state = format.State{NextSeq: 1, Machine: j.opts.MachineID}
	j.state.Relabel(1, format.RandomEpoch())
	s := j.segmentAt(j.lastAside + 1)
	s.first, s.format, s.begun = 1, codec.Version, j.opts.Now()
	if s.cipher, err = j.keys.Add(s.number); err != nil {
		return err
	}
	m := codec.FileMeta{Format: s.format, Number: s.number, First: s.first, Size: j.opts.SegmentSize, Begun: s.begun}
	if s.size, err = format.Create(j.dir, m, &j.state); err == nil {
		j.append(s)
	}
	return err
}

// dropCounted unlinks segments that a crash kept from being unlinked.
func (j *Journal) dropCounted() error {
	for len(j.segments) > 1 && j.segments[0].number <= j.state.Dropped {
		if err := j.drop(j.segments[0]); err != nil {
			return err
		}
	}
	return nil
}

// openNewest opens the newest segment for writing, unless a sync of it failed
// or it had to be rebuilt: then it is only read and another one is begun. It is
// checked before bbolt, which would die of a bad page, looks for free ones in
// it.
func (j *Journal) openNewest(clean bool) error {
	s := j.newest()
	whole, err := boltpage.MetaPagesWhole(s.path)
	if err != nil {
		return err
	}
	if !whole {
		j.newEpoch = "the last transaction of the newest segment is gone"
	}
	suspect, err := j.isSuspect(s)
	if err != nil {
		return err
	}
	if bad := j.checkNewest(s, !clean || suspect); bad != nil {
		if err := j.mend(s, bad); err != nil {
			return err
		}
	}
	if !suspect && !s.rebuilt && s.number >= j.lastAside && s.format == codec.Version && s.cipher != nil {
		err := j.handles.reopenForWriting(s)
		if !damaged(err) {
			return err
		}
		if err := j.mend(s, err); err != nil {
			return err
		}
	}
	j.rollFirst = true
	return nil
}

// checkNewest says what is wrong with the newest segment: after a clean stop of
// its pages, else of its records, too.
func (j *Journal) checkNewest(s *segment, thorough bool) (bad error) {
	if !s.rebuilt && s.format == codec.Version {
		bad = repair.CheckOutline(s.path, s.first, j.state.NextSeq)
	}
	if bad == nil && thorough {
		bad = repair.Check(s.path, s.cipher)
	}
	return bad
}

// Start begins a segment or an epoch where this start calls for it, and then
// what is done aside. damage is what else was found damaged.
func (j *Journal) Start(damage ...string) error {
	j.damage = append(j.damage, damage...)
	newest := j.newest()
	if j.rollFirst {
		j.opts.Logger.Warn("newest segment is only read from now on", "file", newest.name())
		if err := j.beginSegment(j.opts.SegmentSize); err != nil {
			return err
		}
	}
	if err := j.settleEpoch(newest); err != nil {
		return err
	}
	if err := j.forgetUnreadable(); err != nil {
		return err
	}
	j.background.Go(j.completeRegisters)
	return nil
}

// settleEpoch takes a new epoch where the centre may know numbers that will be
// given again, and keeps what was found damaged. newest is what was the newest
// segment before this start.
func (j *Journal) settleEpoch(newest *segment) error {
	b, why := j.NewBatch(), j.newEpoch
	st := b.State
	if newest.rebuilt {
		why = "the newest segment was damaged"
	}
	if j.lastAside > 0 && j.lastAside > newest.number {
		why = "the newest segment could not be read"
	}
	if id := j.opts.MachineID; id != "" && id != st.Machine {
		if st.Machine != "" {
			why = "the store was made on another machine"
		}
		st.Machine = id
		j.state.Machine = id // on disk with whatever is written whole next
	}
	if why == "" && len(j.damage) == 0 {
		return nil
	}
	if len(j.damage) > 0 {
		st.AddDamage(j.damage...)
	}
	if why != "" {
		st.Relabel(st.Watermark+1, format.RandomEpoch())
	}
	if err := j.writeAlone(b); err != nil {
		return fmt.Errorf("take new epoch: %w", err)
	}
	if why != "" {
		j.opts.Logger.Warn("new epoch taken", "why", why, "epoch", fmt.Sprintf("%016x", st.EpochOf(st.NextSeq)))
	}
	return nil
}

// OpenReadOnly opens the segments in dir for reading and changes nothing. What
// cannot be read is left out. Load comes next. An error that is fs.ErrNotExist:
// there are none.
func OpenReadOnly(dir string, opts Options) (*Journal, error) {
	return openReading(dir, opts, (*Journal).openReadable)
}

// openReading opens a journal for reading. open puts segments into the row.
func openReading(dir string, opts Options, open func(*Journal) error) (*Journal, error) {
	j := newJournal(dir, opts)
	j.readOnly = true
	err := open(j)
	if err == nil {
		err = j.finishReading()
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal) openReadable() error {
	unread := ""
	err := j.openAll(func(s *segment) (*format.State, error) {
		st, err := j.openSegment(s)
		if damaged(err) {
			unread = fmt.Sprintf("segment %d cannot be read: %v", s.number, err)
			j.fresh = false
			return nil, nil
		}
		return st, err
	})
	if unread != "" {
		j.state.Damage = unread
	} else {
		j.forgetDamage()
	}
	return err
}

func (j *Journal) finishReading() error {
	j.segments = slices.DeleteFunc(j.segments, func(s *segment) bool { return s.number <= j.state.Dropped })
	if len(j.segments) == 0 && (j.state.Damage != "" || len(j.damage) > 0) {
		return fmt.Errorf("%w: nothing of the segments in %s can be read", durable.ErrDamaged, j.dir)
	}
	if len(j.segments) == 0 {
		return fmt.Errorf("no segments in %s: %w", j.dir, fs.ErrNotExist)
	}
	if err := j.openKeys(); err != nil {
		return err
	}
	return j.readCleanMark()
}
