package repair

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// Segment is what is known of a segment that is to be rebuilt.
type Segment struct {
	Path   string
	Number uint64
	Format uint64 // 0: not known
	Begun  time.Time
	Cipher *crypt.Cipher // nil: the key is gone
	State  *format.State // of the segment before, where its own cannot be read
	First  uint64        // number that it begins with, where its head cannot be read; 0: not known
	Until  uint64        // number that the next segment begins with; 0: not known
	// AtLeast is the first number that the newest segment need not have had, by what
	// else is known; it may have had more.
	AtLeast uint64
	Carried []uint64 // which events were carried into it, as far as that is known elsewhere
	Aside   string   // name under which the damaged file is kept; "": it is not

	// Again are damaged files that were set aside of this segment: what can be read
	// of them by now is put where the file at Path lacks it.
	Again []string
}

// Rebuilt is what came of it.
type Rebuilt struct {
	Found  bool           // something could be read: there is a new file
	Meta   codec.FileMeta // of the new file
	Report string         // what was lost, for people
	Lost   []Span         // numbers of events that were
	// Instead reads the damaged file, which stays as it is, as the new one would
	// read; nil: there is a new one.
	Instead *boltpage.Gathered
}

// Rebuild makes a segment anew, in the file temp, of all that can be read of it:
// what its tree leads to, then what pages that the tree lost still hold. An event
// that cannot be read keeps its place, empty, and ends as a dead letter.
func Rebuild(s Segment, temp string) (*Rebuilt, error) {
	b := newRebuilder(&s)
	if err := b.build(temp); err != nil {
		return nil, err
	}
	return b.rebuilt(), nil
}

// Gather does so in memory only: it changes nothing, and takes no room.
func Gather(s Segment) (*Rebuilt, error) {
	b := newRebuilder(&s)
	g := boltpage.NewGathered(s.Path, format.Buckets...)
	err := b.read(func(p *boltpage.File) error {
		b.to = &list{g, p}
		b.meta.Size = int64(p.Pages) * boltpage.PageSize
		return b.fill(p)
	})
	if err != nil {
		return nil, err
	}
	r := b.rebuilt()
	r.Instead = g
	return r, nil
}

// Copy makes a segment anew that is whole, in its place, and syncs it: of a file
// of which a sync failed nobody knows what the disk has, whatever it shows. Only
// afterwards may anything that is in it be counted on. ErrDamaged: it is not
// whole; nothing was changed.
func Copy(s Segment) (m codec.FileMeta, err error) {
	b := newRebuilder(&s)
	return b.meta, b.replace(func() error {
		if b.lacking() {
			return fmt.Errorf("%w: %s", durable.ErrDamaged, b.report())
		}
		return nil
	})
}

// Merge does so with a segment that was rebuilt before, and with what can be read
// by now of the files that were set aside then.
func Merge(s Segment) (*Rebuilt, error) {
	s.Aside = filepath.Base(s.Again[len(s.Again)-1])
	b := newRebuilder(&s)
	err := b.replace(func() error { return nil })
	return b.rebuilt(), err
}

// replace builds a file in the place of the one that it is built of, if it is good.
func (b *rebuilder) replace(good func() error) (err error) {
	temp := b.s.temp()
	if err = b.build(temp); err == nil {
		err = good()
	}
	if err == nil {
		err = durable.Sync(temp)
	}
	if err == nil {
		err = os.Rename(temp, b.s.Path)
	}
	if err != nil {
		_ = os.Remove(temp) // the first error counts; a start removes leftovers
		return err
	}
	return durable.SyncDir(filepath.Dir(b.s.Path))
}

// lacking reports whether something could not be read.
func (b *rebuilder) lacking() bool { return len(b.broken) > 0 || len(b.lost) > 0 || b.lostNotes > 0 }

// Replace rebuilds a segment in its place, under its number. The damaged file is
// kept beside the others, never deleted, and named, as are the numbers of what
// was lost. Where nothing can be read there is no segment afterwards. Where there
// is no room for the new file, the damaged one stays, and is read instead.
func Replace(s Segment) (*Rebuilt, error) {
	r, err := Prepare(&s)
	if err == nil {
		err = Exchange(&s, r)
	}
	if !durable.NoSpace(err) {
		return r, err
	}
	s.Aside = ""
	r, err = Gather(s)
	if err == nil && !r.Found { // a name takes no room
		s.Aside = durable.AsideName(s.Path)
		r.Report += "; kept as " + s.Aside
		err = Exchange(&s, r)
	}
	return r, err
}

// Prepare makes what Exchange puts in a segment's place.
func Prepare(s *Segment) (r *Rebuilt, err error) {
	s.Aside = durable.AsideName(s.Path)
	if r, err = Rebuild(*s, s.temp()); err == nil && r.Found {
		err = durable.Sync(s.temp())
	}
	if err != nil {
		err = errors.Join(err, s.Discard())
	}
	return r, err
}

// Exchange sets the damaged file aside.
func Exchange(s *Segment, r *Rebuilt) error {
	err := durable.SetAside(s.Path, s.Aside)
	if err == nil {
		err = register.Remove(format.RegisterPath(s.Path)) // its slots may be others now
	}
	switch {
	case err != nil:
	case r.Found:
		err = os.Rename(s.temp(), s.Path)
	default:
		err = os.Remove(s.Path)
	}
	if err != nil || !r.Found {
		err = errors.Join(err, s.Discard())
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(s.Path))
}

// Discard removes what Prepare made.
func (s *Segment) Discard() error {
	if err := os.Remove(s.temp()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove rebuilt segment: %w", err)
	}
	return nil
}

func (s *Segment) temp() string { return s.Path + durable.TempSuffix }

// rebuilder takes what can be read of a damaged segment.
type rebuilder struct {
	s      *Segment
	meta   codec.FileMeta
	state  *format.State // of the segment; where it cannot be read, of the one before
	heads  bool          // the state's head was read
	before string        // report of the rebuild that it comes of; "": of none
	broken map[string]bool
	from   *boltpage.File
	to     target

	events, carried, notes uint64   // that were read
	lastNote               uint64   // key of the last one
	others                 bool     // it is another segment, in this one's place
	copied                 []uint64 // numbers of carried events, by their notes
	lost                   []Span   // numbers of events that were not
	lostNotes              uint64
	err                    error
}

func newRebuilder(s *Segment) *rebuilder {
	return &rebuilder{
		s: s, state: s.State, broken: map[string]bool{},
		meta: codec.FileMeta{Format: cmp.Or(s.Format, codec.Version), Number: s.Number, Begun: s.Begun},
	}
}

func (b *rebuilder) found() bool { return b.events+b.carried+b.notes > 0 || b.heads }

func (b *rebuilder) rebuilt() *Rebuilt {
	return &Rebuilt{Found: b.found(), Meta: b.meta, Report: b.report(), Lost: b.lost}
}

// read has fill take what is good of the damaged file. Afterwards all of that is
// checked, since it is not looked at again.
func (b *rebuilder) read(fill func(p *boltpage.File) error) error {
	p, err := boltpage.Open(b.s.Path)
	if err != nil {
		return err
	}
	defer p.Close()
	b.from = p
	err = fill(p)
	if err == nil && !b.found() && p.Failed != nil {
		err = fmt.Errorf("nothing can be read: %w", p.Failed) // the disk's fault; the file may be whole
	}
	return err
}

// build writes it to temp.
func (b *rebuilder) build(temp string) error {
	return b.read(func(p *boltpage.File) error {
		if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// Pages come out less full than they were, out of order as they are.
		f, err := newFile(temp, 2*int64(p.Pages)*boltpage.PageSize+format.MinSize)
		if err != nil {
			return err
		}
		b.to = f
		err = b.fill(p)
		return errors.Join(err, f.end(err == nil))
	})
}

func (b *rebuilder) fill(p *boltpage.File) error {
	p.Walk(b.reached, func(bucket, _ string) { b.broken[bucket] = true })
	if p.Metas < 2 { // what it leads to may be a transaction old
		b.broken[""] = true
	}
	if b.broken[""] && !b.heads {
		p.Strays(b.strayState)
	}
	if len(b.broken) > 0 {
		p.Strays(b.stray)
	}
	for _, path := range b.s.Again {
		b.takeAgain(path)
	}
	if b.err != nil {
		return b.err
	}
	if err := b.account(); err != nil {
		return err
	}
	b.meta.Size = max(b.meta.Size, b.to.size()) // nothing is added any more
	if err := format.Fill(b.to.in, &b.meta, b.state); err != nil {
		return err
	}
	if b.lacking() || b.s.Aside != "" {
		r := format.Rebuilt{Report: b.report(), Lost: b.lost, Notes: b.lostNotes}
		return r.Store(b.to.in(format.BucketState))
	}
	return nil
}

// takeAgain takes the records of a file that was set aside, where none is yet.
func (b *rebuilder) takeAgain(path string) {
	p, err := boltpage.Open(path)
	if err != nil {
		return // another time
	}
	defer p.Close()
	whole := p.Metas == 2
	p.Walk(func(bucket string, key, value []byte) {
		if bucket != string(format.BucketState) && bucket != string(format.BucketMeta) {
			b.reached(bucket, key, value)
		}
	}, func(string, string) { whole = false })
	if whole { // nothing beyond what is counted was lost
		b.before = ""
	}
}

// reached takes what the tree leads to, if it is whole.
func (b *rebuilder) reached(bucket string, key, value []byte) {
	switch {
	case bucket == string(format.BucketMeta):
		b.takeMeta(key, value)
	case b.others: // what comes before the head is encrypted under another key
	case bucket == string(format.BucketState):
		b.takeState(key, value)
	case len(key) != 8:
	case bucket == string(format.BucketEvents):
		b.take(crypt.EventRecord, key, value)
	case bucket == string(format.BucketCarried):
		b.take(crypt.CarriedRecord, key, value)
	case bucket == string(format.BucketNotes):
		b.takeNote(key, value)
	}
}

// stray takes what stands in a page that the tree does not reach, if the tree
// has lost pages: else those are only free. Such a record may be of a commit
// that was never completed, so it must not stand where another was committed,
// nor lie beyond what was.
func (b *rebuilder) stray(bucket bool, key, value []byte) {
	if bucket && b.broken[""] {
		b.from.Inline(value, func(k, v []byte) { b.stray(false, k, v) })
	}
	if bucket || len(key) != 8 || len(value) == 0 || value[0] != codec.Version {
		return
	}
	top := b.broken[""]
	if b.heads && codec.Seq(key) >= max(b.state.NextSeq, b.s.Until) {
		return
	}
	if (top || b.broken[string(format.BucketEvents)]) && b.take(crypt.EventRecord, key, value) ||
		(top || b.broken[string(format.BucketCarried)]) && b.take(crypt.CarriedRecord, key, value) {
		return
	}
	if top || b.broken[string(format.BucketNotes)] {
		b.takeNote(key, value)
	}
}

// strayState takes the state and the head from what was once the root page; of
// several the latest.
func (b *rebuilder) strayState(bucket bool, key, value []byte) {
	switch {
	case bucket && string(key) == string(format.BucketMeta):
		b.from.Inline(value, b.takeMeta)
	case bucket && string(key) == string(format.BucketState):
		old := rebuilder{s: b.s, state: &format.State{}, before: b.before}
		b.from.Inline(value, old.takeState)
		b.before = old.before
		if old.heads && (!b.heads || cmp.Or(cmp.Compare(old.state.NextSeq, b.state.NextSeq), cmp.Compare(old.state.Watermark, b.state.Watermark)) > 0) {
			b.state, b.heads = old.state, true
		}
	}
}

// take keeps an event that can be read and is not there yet.
func (b *rebuilder) take(kind crypt.RecordKind, key, value []byte) bool {
	body, err := b.s.Cipher.Decrypt(kind, key, value, nil)
	if err == nil {
		_, err = codec.PeekEvent(body)
	}
	if err != nil {
		return false
	}
	name, n := format.BucketEvents, &b.events
	if kind == crypt.CarriedRecord {
		name, n = format.BucketCarried, &b.carried
	}
	b.put(name, n, key, value)
	return true
}

func (b *rebuilder) takeNote(key, value []byte) {
	if n, err := codec.DecodeNote(key, value); err == nil {
		b.put(format.BucketNotes, &b.notes, key, value)
		b.lastNote = max(b.lastNote, codec.Seq(key))
		if n.Copied {
			b.copied = append(b.copied, n.Seq)
		}
	}
}

func (b *rebuilder) put(bucket []byte, n *uint64, key, value []byte) {
	if b.err == nil && !b.to.has(bucket, key) {
		b.err = b.to.put(bucket, key, value)
		*n++
	}
}

func (b *rebuilder) takeMeta(key, value []byte) {
	if string(key) != string(codec.MetaKey) {
		return
	}
	m, err := codec.DecodeFileMeta(value)
	if b.others = err == nil && m.Number != b.s.Number; err == nil && !b.others {
		b.meta.Format, b.meta.First, b.meta.Begun = m.Format, m.First, m.Begun
	}
}

func (b *rebuilder) takeState(key, value []byte) {
	if r, err := format.DecodeRebuilt(key, value); err == nil {
		b.before = r.Report
	}
	if b.state.Decode(key, value) == nil && string(key) == string(format.KeyHead) {
		b.heads = true
	}
}
