package repair

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

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
	Until  uint64        // number that the next segment begins with; 0: not known
}

// Rebuilt is what came of it.
type Rebuilt struct {
	Found  bool           // something could be read: there is a new file
	Meta   codec.FileMeta // of the new file
	Report string         // what was lost, for people
}

// commitBytes bounds one commit of a rebuild.
const commitBytes = 1 << 20

// Rebuild makes a segment anew, in the file temp, of all that can be read of it:
// what its tree leads to, then what pages that the tree lost still hold. An event
// that cannot be read keeps its place, empty, and ends as a dead letter.
func Rebuild(s Segment, temp string) (*Rebuilt, error) {
	b := &rebuilder{s: &s, state: s.State}
	if err := b.build(temp); err != nil {
		return nil, err
	}
	return &Rebuilt{Found: b.found(), Meta: b.meta, Report: b.report()}, nil
}

// Replace rebuilds a segment in its place, under its number. The damaged file is
// kept beside the others, never deleted, and named, as are the numbers of what
// was lost. Where nothing can be read there is no segment afterwards.
func Replace(s Segment) (r *Rebuilt, err error) {
	temp := s.Path + durable.TempSuffix
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // the first error counts; a start removes leftovers
		}
	}()
	if r, err = Rebuild(s, temp); err != nil {
		return nil, err
	}
	if r.Found {
		if err = durable.Sync(temp); err != nil {
			return nil, err
		}
	}
	aside, err := durable.SetAside(s.Path)
	if err != nil {
		return nil, err
	}
	r.Report += "; kept as " + aside
	if !r.Found {
		err = errors.Join(os.Remove(s.Path), os.Remove(temp))
	} else if err = register.Remove(format.RegisterPath(s.Path)); err == nil { // its slots may be others now
		err = os.Rename(temp, s.Path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(s.Path))
	}
	return r, err
}

// rebuilder fills the new file of a damaged segment.
type rebuilder struct {
	s       *Segment
	meta    codec.FileMeta
	state   *format.State // of the segment; where it cannot be read, of the one before
	heads   bool          // the state's head was read
	broken  map[string]bool
	db      *bolt.DB
	tx      *bolt.Tx
	pending int // bytes in tx

	events, carried, notes uint64   // that were read
	copied                 []uint64 // numbers of carried events, by their notes
	lost                   []Span   // numbers of events that were not
	lostNotes              uint64
	err                    error
}

func (b *rebuilder) found() bool { return b.events+b.carried+b.notes > 0 || b.heads }

// build reads the damaged file and writes what is good to temp. Afterwards all
// of it is checked, since it is not looked at again.
func (b *rebuilder) build(temp string) (err error) {
	p, err := boltpage.Open(b.s.Path)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.broken = map[string]bool{}
	// Pages come out less full than they were, out of order as they are.
	b.meta = codec.FileMeta{Format: cmp.Or(b.s.Format, codec.Version), Number: b.s.Number, Size: 2*int64(p.Pages)*boltpage.PageSize + format.MinSize, Begun: b.s.Begun}
	opts := boltpage.Options(b.meta.Size, false)
	opts.NoSync = true // synced as a whole, before it takes its name
	if b.db, err = bolt.Open(temp, 0o600, opts); err != nil {
		return err
	}
	b.db.AllocSize = boltpage.AllocSize
	err = b.fill(p)
	if err == nil && !b.found() && p.Failed != nil {
		err = fmt.Errorf("nothing can be read: %w", p.Failed) // the disk's fault; the file may be whole
	}
	if b.tx != nil {
		err = errors.Join(err, b.tx.Rollback())
	}
	return errors.Join(err, b.db.Close())
}

func (b *rebuilder) fill(p *boltpage.File) error {
	if b.tx, b.err = b.db.Begin(true); b.err != nil {
		return b.err
	}
	if err := boltpage.MakeBuckets(b.tx, format.Buckets...); err != nil {
		return err
	}
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
	if b.err != nil {
		return b.err
	}
	if err := b.account(); err != nil {
		return err
	}
	b.meta.Size = b.tx.Size() // nothing is added any more
	if err := format.Fill(b.tx, &b.meta, b.state); err != nil {
		return err
	}
	err := b.tx.Commit()
	b.tx = nil
	return err
}

// reached takes what the tree leads to, if it is whole.
func (b *rebuilder) reached(bucket string, key, value []byte) {
	switch {
	case bucket == string(format.BucketState):
		b.takeState(key, value)
	case bucket == string(format.BucketMeta):
		b.takeMeta(key, value)
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
		boltpage.Inline(value, func(k, v []byte) { b.stray(false, k, v) })
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
		boltpage.Inline(value, b.takeMeta)
	case bucket && string(key) == string(format.BucketState):
		old := rebuilder{s: b.s, state: &format.State{}}
		boltpage.Inline(value, old.takeState)
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
		if n.Copied {
			b.copied = append(b.copied, n.Seq)
		}
	}
}

func (b *rebuilder) put(bucket []byte, n *uint64, key, value []byte) {
	in := b.tx.Bucket(bucket)
	if b.err != nil || in.Get(key) != nil {
		return
	}
	in.FillPercent = 1
	b.err = in.Put(key, bytes.Clone(value))
	*n++
	if b.pending += len(value) + 24; b.pending > commitBytes && b.err == nil {
		b.pending = 0
		if b.err = b.tx.Commit(); b.err == nil {
			b.tx, b.err = b.db.Begin(true)
		}
	}
}

func (b *rebuilder) takeMeta(key, value []byte) {
	if string(key) != string(codec.MetaKey) {
		return
	}
	if m, err := codec.DecodeFileMeta(value); err == nil && m.Number == b.s.Number {
		b.meta.Format, b.meta.First, b.meta.Begun = m.Format, m.First, m.Begun
	}
}

func (b *rebuilder) takeState(key, value []byte) {
	if b.state.Decode(key, value) == nil && string(key) == string(format.KeyHead) {
		b.heads = true
	}
}
