package journal_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/journal"
)

// memory is the least that a journal can be asked and filled by.
type memory struct {
	watermark uint64
	pending   map[uint64]bool
	dead      map[uint64]bool
}

func (m *memory) Watermark() uint64               { return m.watermark }
func (m *memory) Stands(seq uint64) (p, d bool)   { return m.pending[seq], m.dead[seq] }
func (m *memory) Describe([]event.Record)         {}
func (m *memory) WaitAgain([]byte)                {}
func (m *memory) Fill() (bad []uint64, err error) { return nil, nil }
func (m *memory) Unfinished(to uint64) (s []uint64) {
	return append(upTo(m.pending, to), upTo(m.dead, to)...)
}

func (m *memory) Reset(watermark uint64) {
	*m = memory{watermark: watermark, pending: map[uint64]bool{}, dead: map[uint64]bool{}}
}

func (m *memory) Load(f *event.Found) {
	for _, seq := range f.Pending {
		m.pending[seq] = true
	}
	for _, seq := range f.Dead {
		m.dead[seq] = true
	}
}

func upTo(set map[uint64]bool, to uint64) (seqs []uint64) {
	for seq := range set {
		if seq <= to {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

type world struct {
	*testing.T
	*journal.Journal
	*memory
	now time.Time
	dir string
}

// open opens the journal in the world's folder, and loads it.
func (w *world) open() {
	w.Helper()
	j, err := journal.Open(w.dir, journal.Options{
		MaxSize: 64 << 20, Retain: time.Hour, SegmentSize: format.MinSize, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return w.now }, Commit: (*bolt.Tx).Commit,
	})
	if err == nil {
		w.Journal, w.memory = j, &memory{}
		err = errors.Join(j.Load(w.memory), j.Start())
	}
	if err != nil {
		w.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, dir: t.TempDir(), now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	w.open()
	t.Cleanup(func() {
		if err := w.Journal.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// commit writes events of the waybills, and how others ended.
func (w *world) commit(ended map[uint64]event.State, waybills ...string) {
	w.Helper()
	b := w.NewBatch()
	for i, id := range waybills {
		e := storetest.Event(id, fmt.Sprint(id, i), 1795000000+int64(i))
		w.pending[b.AddEvent(codec.EncodeEvent(&e), e.Waybill)] = true
	}
	for seq, outcome := range ended {
		s := event.Settlement{Seq: seq, Outcome: outcome}
		b.AddNote(s.Note(w.now))
	}
	if err := w.Commit(b, func() error { return nil }); err != nil {
		w.Fatal(err)
	}
	w.Applied(b)
	for seq, outcome := range ended {
		delete(w.pending, seq)
		if outcome == event.Dead {
			w.dead[seq] = true
		}
	}
	w.watermark = w.NextSeq() - 1
}

func (w *world) states() map[uint64]event.State {
	w.Helper()
	got := map[uint64]event.State{}
	err := w.Scan(func(records []event.Record) error {
		for _, r := range records {
			got[r.ID.Seq] = r.State
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return got
}

// What was committed is there after the journal is opened again, with what is
// pending, and how the rest ended.
func TestCommittedIsLoaded(t *testing.T) {
	w := newWorld(t)
	w.commit(nil, "A", "B", "A", "C")
	w.commit(map[uint64]event.State{1: event.Pushed, 2: event.Dead}, "B")
	if err := w.Journal.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	if fmt.Sprint(w.pending, w.dead) != "map[3:true 4:true 5:true] map[2:true]" {
		t.Errorf("pending %v, dead %v", w.pending, w.dead)
	}
	if got := w.states(); len(got) != 5 || got[1] != event.Pushed || got[2] != event.Dead {
		t.Errorf("%v", got)
	}
	seqs, err := w.Find([]scan.WaybillID{"B"}, 0, 99, func(uint64, uint64) bool { return true })
	if err != nil || !slices.Equal(seqs, []uint64{2, 5}) {
		t.Errorf("found %v, %v", seqs, err)
	}
	if c := w.Totals(); c.Received != 5 || c.Outcome[event.Pushed] != 1 || c.Outcome[event.Dead] != 1 {
		t.Errorf("%+v", c)
	}
}

// The oldest segment goes once it is finished and past retain; a dead letter of
// it is carried with its number, and the counts stay.
func TestDeadLetterOutlivesItsSegment(t *testing.T) {
	w := newWorld(t)
	w.commit(nil, "A", "B")
	w.commit(map[uint64]event.State{1: event.Dead, 2: event.Pushed})
	if err := w.MakeRoom(1<<30, false); err != nil { // no segment has so much: another one is begun
		t.Fatal(err)
	}
	if err := w.DropOldest(false); !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("dropped before its time: %v", err)
	}
	w.now = w.now.Add(2 * time.Hour)
	if err := w.Retire(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, format.Name(1))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the segment is still there: %v", err)
	}
	if err := w.Journal.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	if got := w.states(); len(got) != 1 || got[1] != event.Dead {
		t.Errorf("%v", got)
	}
	if c := w.Totals(); c.Received != 2 || c.Outcome[event.Pushed] != 1 || c.Outcome[event.Dead] != 1 {
		t.Errorf("%+v", c)
	}
}

// A segment with an unsynced event stays, however old it is.
func TestUnsyncedPinsItsSegment(t *testing.T) {
	w := newWorld(t)
	w.commit(nil, "A")
	w.watermark = 0
	if err := w.MakeRoom(1<<30, false); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(1000 * time.Hour)
	if err := w.DropOldest(true); !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("dropped: %v", err)
	}
}

// What before says no to is not written, and no number is given for it.
func TestNothingIsCommittedAfterANo(t *testing.T) {
	w := newWorld(t)
	b := w.NewBatch()
	e := storetest.Event("A", "a", 1795000000)
	b.AddEvent(codec.EncodeEvent(&e), e.Waybill)
	no := errors.New("no")
	if err := w.Commit(b, func() error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if got := w.states(); len(got) > 0 || w.NextSeq() != 1 {
		t.Errorf("%v, next %d", got, w.NextSeq())
	}
}
