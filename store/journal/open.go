package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"scanrelay/store/boltpage"
	"scanrelay/store/checkpoint"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/marks"
	"scanrelay/store/repair"
)

// opening is what is known only while a journal is opened.
type opening struct {
	fresh     bool        // nothing is encrypted yet
	left      marks.Marks // how the last process left the folder
	lastAside uint64      // the highest number of one of which something was set aside, or that is gone
	rollFirst bool        // the newest segment must not be written to
	newEpoch  string      // why one is due: what the centre knows of this store cannot be taken for granted
	damage    []string    // what was found damaged

	account *checkpoint.Account // what the segments come to; nil: they were not read yet
	unread  []*segment          // of which a checkpoint told

	foundAgain []format.Span   // what earlier rebuilds could not read, of segments that were merged
	lookedAt   map[string]bool // files in which damage had been met
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
	if err := j.readMarks(); err != nil {
		return err
	}
	if err := durable.RemoveTemps(j.dir); err != nil {
		return err
	}
	// A sync of the folder may have failed, too: what is named in it must be there
	// after a power cut before it is added to.
	if err := durable.SyncDir(j.dir); err != nil {
		return err
	}
	if err := j.openSegments(); err != nil {
		return err
	}
	if err := j.marks.Take(max(j.newest().number, j.lastAside), j.state.EncodeBase()); err != nil {
		return err
	}
	return j.openNewest(j.left.Clean)
}

// openSegments reads the head of every segment and the state of the newest.
// Those whose totals are already in the state are unlinked.
func (j *Journal) openSegments() (err error) {
	if j.spares, err = format.OpenSpares(j.dir); err != nil { // what is mended may need their room
		return err
	}
	if crypt.Exists(j.dir) {
		if j.keys, err = crypt.Open(j.dir, false, false); err != nil {
			return err
		}
	}
	if err := j.openAll(func(*segment) error { return nil }); err != nil {
		return err
	}
	if j.lastAside, err = repair.LastAside(j.dir); err != nil {
		return err
	}
	if err := j.openKeys(); err != nil {
		return err
	}
	if len(j.segments) == 0 {
		return errors.Join(j.allGone(), j.firstSegment())
	}
	if err := j.dropCounted(); err != nil {
		return err
	}
	if err := j.lookAgain(); err != nil {
		return err
	}
	return j.forgetKeys()
}

// openAll puts the segments in the folder into the row, those that look finds no
// damage in. The others are rebuilt then, the last one first: each reaches to where the
// next one begins. Nothing of one: it is left out. The newest one's state is the
// journal's.
func (j *Journal) openAll(look func(*segment) error) error {
	numbers, err := format.List(j.dir)
	if err != nil {
		return err
	}
	var broken []func() error
	for _, n := range numbers {
		s := j.segmentAt(n)
		if j.keys != nil {
			s.cipher = j.keys.Cipher(n)
		}
		st, err := j.openSegment(s)
		if err == nil && (!j.readOnly || n > st.Dropped) {
			err = look(s)
		}
		if boltpage.Damaged(err) {
			before := j.state.Clone()
			if i := len(j.segments); s.first == 0 && i > 0 && j.segments[i-1].number == n-1 {
				s.first = before.NextSeq
			}
			j.fresh, broken = false, append(broken, func() error { return j.mendUnread(s, before, err) })
			continue
		}
		if err != nil {
			return fmt.Errorf("segment %d: %w", n, err)
		}
		j.fresh = j.fresh && s.format == 1
		j.append(s)
		j.state = *st
	}
	for _, mend := range slices.Backward(broken) {
		if err := mend(); err != nil {
			return err
		}
	}
	if len(numbers) > 0 { // the newest may have lost what it said of that
		j.state.CatchUp(j.left.Base, numbers[0])
	}
	return nil
}

// openSegment reads a segment's head and its state.
func (j *Journal) openSegment(s *segment) (st *format.State, err error) {
	s.Size = durable.Size(s.Path)
	err = j.handles.View(&s.File, func(tx boltpage.Reader) error {
		m, err := format.LoadMeta(tx, s.number)
		if err != nil {
			return err
		}
		s.first, s.last, s.Size, s.Begun, s.format = m.First, m.First-1, m.Size, m.Begun, m.Format
		st, s.lacks, err = format.Load(tx)
		return err
	})
	return st, err
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
			return fmt.Errorf("%w: %s is older than %s: put the newer one back", crypt.ErrKey, crypt.FileName, s.Name())
		}
	}
	return nil
}

// forgetKeys destroys the keys of segments that are gone, but of what was set aside,
// and of those that should be there: they keep theirs until a person has seen it.
func (j *Journal) forgetKeys() error {
	gone, err := j.findGone()
	if len(gone) > 0 {
		j.opts.Logger.Error("files are gone", "what", strings.Join(j.damage, "; "))
	}
	return errors.Join(err, j.keys.Keep(func(number uint64) bool {
		files, bad := durable.Glob(j.dir, format.Name(number)+"*")
		return bad != nil || len(files) > 0 || slices.Contains(gone, number)
	}))
}

// findGone raises the alarm of segments that nobody has dropped or set aside, once of
// each: they have a key, or are the newest by what the last process left.
func (j *Journal) findGone() (gone []uint64, err error) {
	keyed := func(n uint64) bool { return j.keys.Cipher(n) != nil }
	gone, lines, err := repair.GoneSegments(j.dir, j.state.Dropped+1, j.newest().number, j.left.Newest, keyed, slices.Concat(j.state.Damage, j.damage), j.readOnly)
	j.damage = append(j.damage, lines...)
	j.lastAside = max(j.lastAside, j.left.Newest)
	return gone, err
}

// allGone does so of all segments. What the checkpoint knows of is gone with them.
func (j *Journal) allGone() (err error) {
	if len(j.damage) == 0 && (j.left.Newest > 0 || durable.Exists(j.checkpoint.Path)) {
		line, bad := repair.Gone(j.dir, "outbox"+durable.AsideSuffix, "all segments are gone, with what had been acknowledged")
		j.damage, err = append(j.damage, line), bad
		j.opts.Logger.Error("files are gone", "what", line)
	}
	return errors.Join(err, j.checkpoint.SetAside(), j.checkpoint.RemoveAside())
}

func (j *Journal) firstSegment() (err error) {
	j.state = format.State{NextSeq: 1, Machine: j.opts.MachineID}
	j.state.Relabel(1, format.RandomEpoch())
	s := j.segmentAt(j.lastAside + 1)
	s.first, s.format, s.Begun = 1, codec.Version, j.opts.Now()
	if s.cipher, err = j.keys.Add(s.number); err != nil {
		return err
	}
	j.append(s) // what the next one may take counts from there
	if len(j.spares.Sizes()) == 0 {
		err = j.makeSpare()
	}
	if err == nil {
		m := s.meta()
		err = j.spares.Begin(&m, &j.state)
		s.Size = m.Size
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

// openNewest decides whether the newest segment is written to. It is not where a
// sync of it failed or it had to be rebuilt: then another one is begun. It is
// checked before bbolt, which would die of a bad page, looks for free ones in
// it. What it shows is put on disk before anything of it is remembered: a scanner
// that sends again what was never acknowledged is told that it is there.
func (j *Journal) openNewest(clean bool) error {
	s := j.newest()
	switch err := boltpage.CheckMetas(s.Path); {
	case errors.Is(err, durable.ErrDamaged):
		j.newEpoch = "the last transaction of the newest segment is gone"
	case err != nil:
		return err
	}
	suspect := j.left.Suspect == s.Name()
	if s.waits != nil {
		j.rollFirst = true
		return nil
	}
	bad := j.checkNewest(s, !clean || suspect)
	switch {
	case bad == nil && suspect && !s.rebuilt: // else it is a copy
		bad = j.copySuspect(s)
	case bad == nil && !s.rebuilt:
		bad = boltpage.Confirm(s.Path)
	}
	if bad != nil && !boltpage.Damaged(bad) {
		return bad
	}
	if bad != nil {
		if err := j.mend(s, bad); err != nil {
			return err
		}
	}
	if s.lacks != nil && !s.rebuilt { // a crash came right after it was rebuilt
		j.newEpoch, j.rollFirst = newestDamaged, true
	}
	if suspect || s.rebuilt || s.number < j.lastAside || s.format < codec.Version || s.cipher == nil {
		j.rollFirst = true
	}
	return nil
}

// copySuspect puts a whole segment of which a sync failed on disk anew.
func (j *Journal) copySuspect(s *segment) error {
	if err := j.handles.Shut(&s.File); err != nil {
		return err
	}
	m, err := repair.Copy(j.spec(s))
	if durable.NoSpace(err) { // as after a sync that failed without a mark
		return boltpage.Confirm(s.Path)
	}
	if err != nil {
		return fmt.Errorf("copy segment %d, of which a sync failed: %w", s.number, err)
	}
	s.Size = m.Size
	j.opts.Logger.Warn("a sync of the newest segment failed: it was copied", "file", s.Name())
	return nil
}

// checkNewest says what is wrong with the newest segment: after a clean stop of
// its pages, else of its records, too.
func (j *Journal) checkNewest(s *segment, thorough bool) (bad error) {
	if !s.rebuilt && s.format == codec.Version {
		bad = repair.CheckOutline(s.Path, s.first, j.state.NextSeq)
	}
	if bad == nil && thorough {
		bad = repair.Check(s.Path, s.cipher)
	}
	return bad
}

// Start opens the newest segment for writing, or begins one, or an epoch, where
// this start calls for it, and then what is done aside. damage is what else was
// found damaged.
func (j *Journal) Start(damage ...string) error {
	j.damage = append(j.damage, damage...)
	newest := j.newest()
	if j.rollFirst {
		j.opts.Logger.Warn("newest segment is only read from now on", "file", newest.Name())
		if err := j.beginNext(); err != nil && !errors.Is(err, ErrNoSpace) { // then with the first commit
			return err
		}
	} else if err := j.handles.OpenForWriting(&newest.File); err != nil {
		return err
	}
	if err := j.settleEpoch(newest); err != nil {
		return err
	}
	if err := j.marks.Looked(); err != nil {
		return err
	}
	account, unread := j.account, j.unread
	j.account, j.unread = nil, nil
	known, err := j.checkpoint.Aside()
	if err != nil {
		return err
	}
	if known != nil {
		j.lost = known.Lost(account, carryChunk, j.live.Stands)
		if err := j.restore(); err != nil && !errors.Is(err, ErrNoSpace) {
			return fmt.Errorf("write outcomes again: %w", err)
		}
	}
	if j.lost == nil { // else what was set aside still knows more
		j.checkpoint.Keep(account)
	}
	j.background.Go(func() {
		j.completeRegisters()
		j.lookAside(unread)
	})
	return nil
}

// newestDamaged is why a new epoch is due.
const newestDamaged = "the newest segment was damaged"

// settleEpoch takes a new epoch where the centre may know numbers that will be
// given again, and keeps what was found damaged. newest is what was the newest
// segment before this start.
func (j *Journal) settleEpoch(newest *segment) error {
	b, why := j.NewBatch(), j.newEpoch
	st := b.State
	if newest.rebuilt {
		why = newestDamaged
	}
	if j.lastAside > newest.number {
		why = "the newest segment could not be read, or is gone"
	}
	if id := j.opts.MachineID; id != "" && id != st.Machine {
		if st.Machine != "" {
			why = "the store was made on another machine"
		}
		st.Machine = id
		j.state.Machine = id // on disk with whatever is written whole next
	}
	if b.Whole = why != ""; b.Whole {
		st.Relabel(st.Watermark+1, format.RandomEpoch())
	}
	switch err := j.tellDamage(b); {
	case errors.Is(err, ErrNoSpace):
		j.opts.Logger.Error("nothing can be written until the disk has room for a segment", "bytes", format.MinSize+format.DiskMargin)
		j.epochDue = why != ""
	case err != nil:
		return fmt.Errorf("take new epoch: %w", err)
	case why != "":
		j.opts.Logger.Warn("new epoch taken", "why", why, "epoch", fmt.Sprintf("%016x", st.EpochOf(st.NextSeq)))
	}
	return nil
}

// OpenReadOnly opens the segments in dir for reading and changes nothing. What
// cannot be read is left out. Load comes next. An error that is fs.ErrNotExist:
// there are none.
func OpenReadOnly(dir string, opts Options) (*Journal, error) {
	return openReading(dir, opts, func(*segment) error { return nil })
}

// openReading opens a journal for reading.
func openReading(dir string, opts Options, look func(*segment) error) (*Journal, error) {
	j := newJournal(dir, opts)
	j.readOnly = true
	err := j.readMarks()
	if err == nil && crypt.Exists(dir) {
		j.keys, err = crypt.Open(dir, true, false)
	}
	if err == nil {
		err = j.openAll(look)
	}
	if err == nil {
		err = j.finishReading()
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal) finishReading() error {
	j.segments = slices.DeleteFunc(j.segments, func(s *segment) bool { return s.number <= j.state.Dropped })
	if len(j.segments) == 0 && len(j.damage) > 0 {
		return fmt.Errorf("%w: nothing of the segments in %s can be read", durable.ErrDamaged, j.dir)
	}
	if len(j.segments) == 0 {
		return fmt.Errorf("no segments in %s: %w", j.dir, fs.ErrNotExist)
	}
	err := j.openKeys()
	if err == nil {
		_, err = j.findGone()
	}
	return err
}
