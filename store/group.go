package store

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
)

// group is what one commit writes: the ops of everybody who waited, merged.
type group struct {
	o       *Outbox
	now     time.Time
	segment *segment // the newest; set before anything is written
	next    *state   // the state after the commit
	whole   bool     // all of the state has to be written, not only its head
	events  []stagedEvent
	notes   []event.Note
	rejects []scan.Reject
	bytes   int
	tried   []uint64 // whose attempts are written along with it
	rolled  bool     // a segment was begun for it
	// What dedupe was told and must unlearn if the commit fails.
	identities []identity
	weak       []scan.WeakKey
}

type stagedEvent struct {
	seq     uint64
	framed  []byte // in clear, not sealed yet
	waybill scan.WaybillID
}

// Room that bbolt's pages and the copied path to the root take in a commit.
const (
	recordOverhead = 8 + 16 // key and leaf element
	commitOverhead = 16 * boltpage.PageSize
)

func (o *Outbox) newGroup() *group {
	g := &group{o: o, now: o.opts.Now()}
	o.mu.Lock()
	defer o.mu.Unlock()
	g.next = o.state.clone()
	g.next.watermark = o.index.watermark
	if o.room.open() {
		o.index.now = g.now
		for _, n := range o.index.takeUnsaved(o.groupLimit() / 2) {
			g.tried = append(g.tried, n.Seq)
			g.addNote(n)
		}
	}
	return g
}

// addEvent gives the event its number and puts it into the commit.
func (g *group) addEvent(framed []byte, waybill scan.WaybillID) (seq uint64) {
	seq = g.next.nextSeq
	g.next.nextSeq++
	g.events = append(g.events, stagedEvent{seq, framed, waybill})
	g.bytes += eventWeight(framed)
	return seq
}

func (g *group) addNote(n event.Note) {
	g.notes = append(g.notes, n)
	g.bytes += noteWeight(&n)
}

// eventWeight is what an event takes in a segment, about. A large record does
// not share its pages well.
func eventWeight(framed []byte) int {
	n := len(framed) + crypt.Overhead + recordOverhead
	if n > boltpage.PageSize/4 {
		n = (n/boltpage.PageSize + 2) * boltpage.PageSize
	}
	return n
}

func noteWeight(n *event.Note) int {
	return 40 + crypt.ReasonSize(n) + min(len(n.Last.RID), codec.MaxReason) + recordOverhead
}

// empty reports whether nothing has to be on disk before the ops are answered.
func (g *group) empty() bool { return len(g.events) == 0 && len(g.notes) == 0 && !g.whole }

// undo takes back what staging did in memory.
func (g *group) undo() {
	g.o.locked(func(x *index) { x.unsaved = append(x.unsaved, g.tried...) })
	for _, id := range g.identities {
		g.o.dedupe.forget(id)
	}
	for _, k := range g.weak {
		g.o.dedupe.forgetWeak(k)
	}
}

// fits reports whether the group finds room in a segment of which used bytes
// are taken.
func (g *group) fits(s *segment, used int64) bool {
	return used+int64(g.bytes)*11/10+commitOverhead <= s.limit(len(g.events) > 0)
}

// limit is up to where a segment is filled: by intake to nine tenths, so that
// outcomes find room in the last one; by outcomes as far as bbolt goes.
func (s *segment) limit(intake bool) int64 {
	if intake {
		return min(s.size/10*9, s.size-5*boltpage.AllocSize)
	}
	return s.size - boltpage.AllocSize - 4*boltpage.PageSize
}

// write puts everything into the transaction.
func (g *group) write(tx *bolt.Tx) error {
	events := tx.Bucket(bucketEvents)
	events.FillPercent = 1 // keys only rise; bbolt does not remember it
	salt := crypt.NewSalt()
	for _, e := range g.events {
		key := codec.Key(e.seq)
		if err := events.Put(key, g.segment.cipher.Encrypt(crypt.EventRecord, key, salt, e.framed)); err != nil {
			return fmt.Errorf("put event: %w", err)
		}
	}
	notes := tx.Bucket(bucketNotes)
	notes.FillPercent = 1
	for i := range g.notes {
		key := codec.Key(g.segment.notes + uint64(i) + 1)
		if err := notes.Put(key, g.segment.cipher.EncodeNote(key, &g.notes[i])); err != nil {
			return fmt.Errorf("put note: %w", err)
		}
	}
	st := tx.Bucket(bucketState)
	if g.whole {
		return g.next.storeAll(st)
	}
	return g.next.storeHead(st)
}
