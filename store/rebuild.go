package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// segmentError says which segment could not be read.
type segmentError struct {
	s   *segment
	err error
}

func (e *segmentError) Error() string { return fmt.Sprintf("read segment %d: %v", e.s.number, e.err) }
func (e *segmentError) Unwrap() error { return e.err }

// wasClean reports whether the last process closed the outbox, and takes the
// mark away that says so.
func (o *Outbox) wasClean() (bool, error) {
	err := os.Remove(filepath.Join(o.dir, cleanName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = syncDir(o.dir)
	}
	if err != nil {
		return false, fmt.Errorf("take mark away: %w", err)
	}
	return true, nil
}

// forgetDamage ends the alarm once a person has taken away all that was set
// aside.
func (o *Outbox) forgetDamage() {
	aside, err := filepath.Glob(filepath.Join(o.dir, "*"+asideSuffix+"*"))
	if err == nil && len(aside) == 0 {
		o.state.damage = ""
	}
}

// maxDamage bounds what is kept of what was found damaged, in bytes: it is in
// the state, which every commit writes.
const maxDamage = 400

func joinDamage(old string, news []string) string {
	if old != "" {
		news = append([]string{old}, news...)
	}
	all := strings.Join(news, "; ")
	if len(all) > maxDamage {
		all = "…" + strings.ToValidUTF8(all[len(all)-maxDamage:], "")
	}
	return all
}

// loadRebuilding loads everything, and rebuilds the segments that cannot be
// read.
func (o *Outbox) loadRebuilding() error {
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
	r, err := inspectSegment(s.path, s.sealer)
	if err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("%w: %s", ErrDamaged, r.Problems[0])
	}
	return nil
}

// checkShape looks only for what would send a reader in circles.
func (o *Outbox) checkShape(s *segment) (bad error) {
	p, err := openPages(s.path)
	if err != nil {
		return err
	}
	defer p.close()
	p.shallow = true
	p.visit = func(string, []byte, []byte) {}
	p.problem = func(bucket, what string) {
		if bad == nil {
			bad = fmt.Errorf("%w: %s: %s", ErrDamaged, bucket, what)
		}
	}
	p.walk()
	return bad
}

// rebuildUnread rebuilds a segment of which not even the head could be read. It
// returns its state; nil if nothing at all could be read.
func (o *Outbox) rebuildUnread(s *segment, cause error) (*state, error) {
	if o.journal.keys == nil { // without the keys nothing may be given up
		_, err := openRing(o.dir, false, false)
		return nil, errors.Join(err, cause)
	}
	s.sealer = o.journal.keys.sealer(s.number)
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
	temp := s.path + tempSuffix
	err := b.build(temp)
	if err == nil && b.found() {
		err = syncFile(temp)
	}
	aside := ""
	if err == nil {
		aside, err = setFileAside(s.path)
	}
	switch {
	case err != nil:
	case b.found():
		err = os.Rename(temp, s.path)
		s.rebuilt, s.first, s.last, s.size = true, b.meta.first, b.meta.first-1, b.meta.size
	default:
		err = errors.Join(os.Remove(s.path), os.Remove(temp))
		o.lastAside, s.path = s.number, ""
	}
	if err == nil {
		err = syncDir(o.dir)
	}
	if err != nil {
		_ = os.Remove(temp) // the first error counts; Open removes leftovers
		return fmt.Errorf("rebuild segment %d: %w", s.number, err)
	}
	what := b.report(s.number, aside)
	o.damage = append(o.damage, what)
	o.opts.Logger.Error("segment was rebuilt of what could be read", "damage", what)
	return nil
}

// setFileAside gives a damaged file a second name, so that a crash before its
// first one is taken leaves all as it was.
func setFileAside(path string) (name string, err error) {
	for i := 1; ; i++ {
		aside := path + asideSuffix
		if i > 1 {
			aside = fmt.Sprintf("%s-%d", aside, i)
		}
		err := os.Link(path, aside)
		if errors.Is(err, fs.ErrExist) {
			a, _ := os.Stat(aside)
			b, _ := os.Stat(path)
			if a == nil || b == nil || !os.SameFile(a, b) {
				continue
			}
			err = nil
		}
		return filepath.Base(aside), err
	}
}

// rebuilder fills the new file of a damaged segment.
type rebuilder struct {
	s       *segment
	meta    segmentMeta
	state   *state // of the segment; where it cannot be read, of the one before
	heads   bool   // the state's head was read
	broken  map[string]bool
	db      *bolt.DB
	tx      *bolt.Tx
	pending int // bytes in tx

	events, carried, notes uint64 // that were read
	lost                   []span // numbers of events that were not
	lostNotes              uint64
	err                    error
}

// span is a run of numbers.
type span struct{ from, to uint64 }

func (s span) String() string {
	if s.from == s.to {
		return fmt.Sprint(s.from)
	}
	return fmt.Sprintf("%d-%d", s.from, s.to)
}

func (b *rebuilder) found() bool { return b.events+b.carried+b.notes > 0 || b.heads }

// build reads the damaged file and writes what is good to temp. Afterwards all
// of it is checked, since it is not looked at again.
func (b *rebuilder) build(temp string) (err error) {
	p, err := openPages(b.s.path)
	if err != nil {
		return err
	}
	defer p.close()
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.broken = map[string]bool{}
	// Pages come out less full than they were, out of order as they are.
	b.meta = segmentMeta{format: cmp.Or(b.s.format, formatVersion), number: b.s.number, size: 2*int64(p.pages)*pageSize + minSegmentSize, begun: b.s.begun}
	opts := boltOptions(b.meta.size, false)
	opts.NoSync = true // synced as a whole, before it takes its name
	if b.db, err = bolt.Open(temp, 0o600, opts); err != nil {
		return err
	}
	b.db.AllocSize = allocSize
	err = b.fill(p)
	if b.tx != nil {
		err = errors.Join(err, b.tx.Rollback())
	}
	return errors.Join(err, b.db.Close())
}

func (b *rebuilder) fill(p *pageFile) error {
	if b.tx, b.err = b.db.Begin(true); b.err != nil {
		return b.err
	}
	for _, name := range [][]byte{bucketMeta, bucketState, bucketEvents, bucketNotes, bucketCarried} {
		if _, err := b.tx.CreateBucket(name); err != nil {
			return err
		}
	}
	p.visit = b.reached
	p.problem = func(bucket, _ string) { b.broken[bucket] = true }
	p.walk()
	if b.broken[""] && !b.heads {
		p.strays(b.strayState)
	}
	if len(b.broken) > 0 {
		p.strays(b.stray)
	}
	if b.err != nil {
		return b.err
	}
	if err := b.account(); err != nil {
		return err
	}
	b.meta.size = b.tx.Size() // nothing is added any more
	err := errors.Join(b.meta.store(b.tx.Bucket(bucketMeta)), b.state.storeAll(b.tx.Bucket(bucketState)))
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
	case bucket == string(bucketMeta):
		b.takeMeta(key, value)
	case len(key) != 8:
	case bucket == string(bucketEvents):
		b.take(kindEvent, key, value)
	case bucket == string(bucketCarried):
		b.take(kindCarried, key, value)
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
		inline(value, func(k, v []byte) { b.stray(false, k, v) })
	}
	if bucket || len(key) != 8 || len(value) == 0 || value[0] != formatVersion {
		return
	}
	top := b.broken[""]
	if b.heads && keySeq(key) >= b.state.nextSeq {
		return
	}
	if (top || b.broken[string(bucketEvents)]) && b.take(kindEvent, key, value) ||
		(top || b.broken[string(bucketCarried)]) && b.take(kindCarried, key, value) {
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
	case bucket && string(key) == string(bucketMeta):
		inline(value, b.takeMeta)
	case bucket && string(key) == string(bucketState):
		old := rebuilder{s: b.s, state: &state{}}
		inline(value, old.takeState)
		if old.heads && (!b.heads || cmp.Or(cmp.Compare(old.state.nextSeq, b.state.nextSeq), cmp.Compare(old.state.watermark, b.state.watermark)) > 0) {
			b.state, b.heads = old.state, true
		}
	}
}

// take keeps an event that can be read and is not there yet.
func (b *rebuilder) take(kind byte, key, value []byte) bool {
	body, err := b.s.sealer.open(kind, key, value, nil)
	if err == nil {
		_, err = peekEvent(body)
	}
	if err != nil {
		return false
	}
	name, n := bucketEvents, &b.events
	if kind == kindCarried {
		name, n = bucketCarried, &b.carried
	}
	b.put(name, n, key, value)
	return true
}

func (b *rebuilder) takeNote(key, value []byte) {
	if _, err := decodeNote(key, value); err == nil {
		b.put(bucketNotes, &b.notes, key, value)
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
	if d, err := unseal(key, value); err == nil && string(key) == string(keySegment) {
		m := segmentMeta{format: d.uint(), number: d.uint(), first: d.uint()}
		d.uint() // its size: that of the new file counts
		if m.begun = d.time(); d.done() == nil && m.number == b.s.number {
			b.meta.format, b.meta.first, b.meta.begun = m.format, m.first, m.begun
		}
	}
}

func (b *rebuilder) takeState(key, value []byte) {
	if d, err := unseal(key, value); err == nil && b.state.decode(string(key), d) == nil && string(key) == string(keyHead) {
		b.heads = true
	}
}

// account gives every event that is missing an empty place, and counts.
func (b *rebuilder) account() error {
	events := b.tx.Bucket(bucketEvents)
	c := events.Cursor()
	k, _ := c.First()
	if b.meta.first == 0 && k != nil {
		b.meta.first = keySeq(k)
	}
	if b.meta.first == 0 {
		b.meta.first = max(b.state.nextSeq, 1)
	}
	next := b.meta.first
	for ; k != nil; k, _ = c.Next() {
		b.miss(next, keySeq(k))
		next = keySeq(k) + 1
	}
	// Of a sealed segment the state is that of its end, of the newest too.
	if b.heads {
		b.miss(next, b.state.nextSeq)
		next = max(next, b.state.nextSeq)
	}
	b.state.nextSeq = max(b.state.nextSeq, next)
	for _, l := range b.lost {
		for seq := l.from; seq <= l.to; seq++ {
			if err := events.Put(seqKey(seq), nil); err != nil {
				return err
			}
		}
	}
	if k, _ := b.tx.Bucket(bucketNotes).Cursor().Last(); k != nil {
		b.lostNotes = keySeq(k) - b.notes
	}
	return nil
}

func (b *rebuilder) miss(from, to uint64) {
	if from < to {
		b.lost = append(b.lost, span{from, to - 1})
	}
}

// report names what was lost, for people.
func (b *rebuilder) report(number uint64, aside string) string {
	var lost uint64
	var names []string
	for i, l := range b.lost {
		lost += l.to - l.from + 1
		if i < 10 {
			names = append(names, l.String())
		} else if i == 10 {
			names = append(names, "…")
		}
	}
	what := fmt.Sprintf("segment %d was damaged: %d events read", number, b.events+b.carried)
	switch {
	case !b.found():
		what = fmt.Sprintf("segment %d was damaged: nothing of it could be read", number)
	case lost > 0:
		what += fmt.Sprintf(", %d lost: %s", lost, strings.Join(names, ", "))
	default:
		what += ", none lost"
	}
	if b.lostNotes > 0 {
		what += fmt.Sprintf(", %d outcomes lost", b.lostNotes)
	}
	return what + "; kept as " + aside
}
