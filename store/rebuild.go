package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// segmentError says which segment could not be read.
type segmentError struct {
	s   *segment
	err error
}

func (e *segmentError) Error() string { return fmt.Sprintf("read segment %d: %v", e.s.number, e.err) }
func (e *segmentError) Unwrap() error { return e.err }

// loadRebuilding loads everything, and rebuilds the segments that cannot be
// read.
func (o *Outbox) loadRebuilding() error {
	if err := o.checkUnreadable(); err != nil {
		return err
	}
	for _, s := range o.journal.list() {
		if bad := o.checkShape(s); bad != nil && !s.rebuilt {
			if err := o.rebuildLoaded(s, bad); err != nil {
				return err
			}
		}
	}
	for {
		err := o.loadAll()
		var bad *segmentError
		if !errors.As(err, &bad) || !setAside(err) || bad.s.rebuilt {
			return err
		}
		if err := o.rebuildLoaded(bad.s, bad.err); err != nil {
			return err
		}
		o.unload()
	}
}

// rebuildLoaded rebuilds a segment that is in the journal.
func (o *Outbox) rebuildLoaded(s *segment, cause error) error {
	o.rollFirst = o.rollFirst || s == o.journal.newest()
	return o.rebuild(s, cause)
}

// unload forgets what a load brought into memory.
func (o *Outbox) unload() {
	o.index, o.dedupe, o.totals, o.rewound = newIndex(o.opts.windowSize), newDedupe(), totals{}, 0
	clear(o.journal.carried)
	for _, s := range o.journal.list() {
		s.last, s.notes, s.open, s.totals = s.first-1, 0, 0, totals{}
	}
}

// checkSegment reads everything in a segment and says what is wrong first.
func (o *Outbox) checkSegment(s *segment) (bad error) {
	r, err := inspectSegment(s.path, s.cipher)
	if err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("%w: %s", ErrDamaged, r.Problems[0])
	}
	return nil
}

// checkShape looks only for what would send a reader in circles, and for the
// void meta page of a sealed segment, with which bbolt reads it as it was one
// transaction before its end.
func (o *Outbox) checkShape(s *segment) error {
	return boltpage.CheckBranches(s.path, o.journal.after(s.number) != nil)
}

// rebuildUnread rebuilds a segment of which not even the head could be read. It
// returns its state; nil if nothing at all could be read.
func (o *Outbox) rebuildUnread(s *segment, cause error) (*state, error) {
	if o.journal.keys == nil { // without the keys nothing may be given up
		_, err := crypt.Open(o.dir, false, false)
		return nil, errors.Join(err, cause)
	}
	s.cipher = o.journal.keys.Cipher(s.number)
	if err := o.rebuild(s, cause); err != nil {
		return nil, err
	}
	if s.path == "" {
		return nil, nil
	}
	return o.openSegment(s)
}

// rebuild makes a segment anew, under its number, of all that can be read of it:
// what its tree leads to, then what pages that the tree lost still hold. An
// event that cannot be read keeps its place, empty, and ends as a dead letter.
// The damaged file is kept beside the others, never deleted, and named, as are
// the numbers of what was lost.
func (o *Outbox) rebuild(s *segment, cause error) error {
	o.opts.Logger.Error("segment is damaged", "file", filepath.Base(s.path), "error", cause)
	if err := o.journal.shut(s); err != nil {
		return fmt.Errorf("rebuild segment %d: %w", s.number, err)
	}
	b := &rebuilder{s: s, state: o.state.clone()}
	if next := o.journal.after(s.number); next != nil {
		b.until = next.first
	}
	temp := s.path + durable.TempSuffix
	err := b.build(temp)
	if err == nil && b.found() {
		err = durable.Sync(temp)
	}
	aside := ""
	if err == nil {
		aside, err = durable.SetAside(s.path)
	}
	switch {
	case err != nil:
	case b.found():
		// Its first number may be another now, and with it each slot.
		if err = removeRegister(registerPath(s.path)); err == nil {
			err = os.Rename(temp, s.path)
		}
		s.rebuilt, s.first, s.last, s.size = true, b.meta.First, b.meta.First-1, b.meta.Size
	default:
		err = errors.Join(os.Remove(s.path), os.Remove(temp))
		o.lastAside, s.path = s.number, ""
	}
	if err == nil {
		err = durable.SyncDir(o.dir)
	}
	if err != nil {
		_ = os.Remove(temp) // the first error counts; Open removes leftovers
		return fmt.Errorf("rebuild segment %d: %w", s.number, err)
	}
	what := b.report(s.number) + "; kept as " + aside
	o.damage = append(o.damage, what)
	o.opts.Logger.Error("segment was rebuilt of what could be read", "damage", what)
	return nil
}

// rebuilder fills the new file of a damaged segment.
type rebuilder struct {
	s       *segment
	meta    codec.FileMeta
	state   *state // of the segment; where it cannot be read, of the one before
	heads   bool   // the state's head was read
	until   uint64 // number that the next segment begins with; 0: not known
	broken  map[string]bool
	db      *bolt.DB
	tx      *bolt.Tx
	pending int // bytes in tx

	events, carried, notes uint64   // that were read
	copied                 []uint64 // numbers of carried events, by their notes
	lost                   []span   // numbers of events that were not
	lostNotes              uint64
	err                    error
}

func (b *rebuilder) found() bool { return b.events+b.carried+b.notes > 0 || b.heads }

// build reads the damaged file and writes what is good to temp. Afterwards all
// of it is checked, since it is not looked at again.
func (b *rebuilder) build(temp string) (err error) {
	p, err := boltpage.Open(b.s.path)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.broken = map[string]bool{}
	// Pages come out less full than they were, out of order as they are.
	b.meta = codec.FileMeta{Format: cmp.Or(b.s.format, codec.Version), Number: b.s.number, Size: 2*int64(p.Pages)*boltpage.PageSize + minSegmentSize, Begun: b.s.begun}
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
	for _, name := range [][]byte{codec.MetaBucket, bucketState, bucketEvents, bucketNotes, bucketCarried} {
		if _, err := b.tx.CreateBucket(name); err != nil {
			return err
		}
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
	err := errors.Join(b.tx.Bucket(codec.MetaBucket).Put(codec.MetaKey, b.meta.Encode()), b.state.storeAll(b.tx.Bucket(bucketState)))
	if err != nil {
		return err
	}
	err = b.tx.Commit()
	b.tx = nil
	return err
}

// reached takes what the tree leads to, if it is whole.
func (b *rebuilder) reached(bucket string, key, value []byte) {
	switch {
	case bucket == string(bucketState):
		b.takeState(key, value)
	case bucket == string(codec.MetaBucket):
		b.takeMeta(key, value)
	case len(key) != 8:
	case bucket == string(bucketEvents):
		b.take(crypt.EventRecord, key, value)
	case bucket == string(bucketCarried):
		b.take(crypt.CarriedRecord, key, value)
	case bucket == string(bucketNotes):
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
	if b.heads && codec.Seq(key) >= max(b.state.nextSeq, b.until) {
		return
	}
	if (top || b.broken[string(bucketEvents)]) && b.take(crypt.EventRecord, key, value) ||
		(top || b.broken[string(bucketCarried)]) && b.take(crypt.CarriedRecord, key, value) {
		return
	}
	if top || b.broken[string(bucketNotes)] {
		b.takeNote(key, value)
	}
}

// strayState takes the state and the head from what was once the root page; of
// several the latest.
func (b *rebuilder) strayState(bucket bool, key, value []byte) {
	switch {
	case bucket && string(key) == string(codec.MetaBucket):
		boltpage.Inline(value, b.takeMeta)
	case bucket && string(key) == string(bucketState):
		old := rebuilder{s: b.s, state: &state{}}
		boltpage.Inline(value, old.takeState)
		if old.heads && (!b.heads || cmp.Or(cmp.Compare(old.state.nextSeq, b.state.nextSeq), cmp.Compare(old.state.watermark, b.state.watermark)) > 0) {
			b.state, b.heads = old.state, true
		}
	}
}

// take keeps an event that can be read and is not there yet.
func (b *rebuilder) take(kind crypt.RecordKind, key, value []byte) bool {
	body, err := b.s.cipher.Decrypt(kind, key, value, nil)
	if err == nil {
		_, err = codec.PeekEvent(body)
	}
	if err != nil {
		return false
	}
	name, n := bucketEvents, &b.events
	if kind == crypt.CarriedRecord {
		name, n = bucketCarried, &b.carried
	}
	b.put(name, n, key, value)
	return true
}

func (b *rebuilder) takeNote(key, value []byte) {
	if n, err := codec.DecodeNote(key, value); err == nil {
		b.put(bucketNotes, &b.notes, key, value)
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
	if b.pending += len(value) + recordOverhead; b.pending > groupBytes && b.err == nil {
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
	if m, err := codec.DecodeFileMeta(value); err == nil && m.Number == b.s.number {
		b.meta.Format, b.meta.First, b.meta.Begun = m.Format, m.First, m.Begun
	}
}

func (b *rebuilder) takeState(key, value []byte) {
	if d, err := codec.Decode(key, value); err == nil && b.state.decode(string(key), d) == nil && string(key) == string(keyHead) {
		b.heads = true
	}
}
