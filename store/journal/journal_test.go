package journal_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	retried   map[uint64]time.Time
	tried     map[uint64]event.Note
}

func (m *memory) Watermark() uint64               { return m.watermark }
func (m *memory) Stands(seq uint64) (p, d bool)   { return m.pending[seq], m.dead[seq] }
func (m *memory) WaitAgain([]byte)                {}
func (m *memory) Fill() (bad []uint64, err error) { return nil, nil }
func (m *memory) Unfinished(to uint64) (s []uint64) {
	return append(upTo(m.pending, to), upTo(m.dead, to)...)
}

func (m *memory) Describe(records []event.Record) {
	for i := range records {
		r := &records[i]
		n := m.tried[r.ID.Seq]
		r.RetriedAt, r.Attempts, r.Last = m.retried[r.ID.Seq], n.Attempts, n.Last
	}
}

func (m *memory) Attempt(seq uint64) (n event.Note, ok bool) {
	n, ok = m.tried[seq]
	return n, ok
}

func (m *memory) Reset(watermark uint64) {
	*m = memory{
		watermark: watermark, pending: map[uint64]bool{}, dead: map[uint64]bool{},
		retried: map[uint64]time.Time{}, tried: map[uint64]event.Note{},
	}
}

func (m *memory) Load(f *event.Found) {
	for _, seq := range f.Pending {
		m.pending[seq] = true
	}
	for _, seq := range f.Dead {
		m.dead[seq] = true
	}
	maps.Copy(m.retried, f.Retried)
	maps.Copy(m.tried, f.Tried)
}

func (m *memory) Dead() []uint64                          { return slices.Sorted(maps.Keys(m.dead)) }
func (m *memory) ClaimDead(seq uint64) bool               { return m.dead[seq] }
func (m *memory) UnclaimDead([]uint64)                    {}
func (m *memory) Waits() (waiting, n int)                 { return 0, len(m.pending) }
func (m *memory) Senders([]event.Settlement) []event.Sent { return nil }
func (m *memory) End(ended []event.Settlement, _ []event.Sent) {
	for _, s := range ended {
		delete(m.dead, s.Seq)
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
	maxSize int64
	*journal.Journal
	*memory
	dir string

	mu sync.Mutex // guards at: the journal works aside, too
	at time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// open opens the journal in the world's folder, and loads it.
func (w *world) open() {
	w.Helper()
	j, err := journal.Open(w.dir, journal.Options{
		MaxSize: w.maxSize, Retain: time.Hour, SegmentSize: format.MinSize, Logger: slog.New(slog.DiscardHandler),
		Now: w.now, Commit: (*bolt.Tx).Commit,
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
	return worldOf(t, 64<<20)
}

func worldOf(t *testing.T, maxSize int64) *world {
	w := &world{T: t, maxSize: maxSize, dir: t.TempDir(), at: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
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
		b.AddNote(s.Note(w.now()))
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

// deadLetters writes so many events, each of a waybill that begins like this, that died.
func (w *world) deadLetters(n int, waybill string) {
	w.Helper()
	ids, dead := make([]string, n), map[uint64]event.State{}
	for i := range ids {
		ids[i], dead[w.NextSeq()+uint64(i)] = fmt.Sprint(waybill, i), event.Dead
	}
	w.commit(nil, ids...)
	w.commit(dead)
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

// note commits notes, and takes them into memory.
func (w *world) note(notes ...event.Note) {
	w.Helper()
	b := w.NewBatch()
	for _, n := range notes {
		b.AddNote(n)
	}
	if err := w.Commit(b, func() error { return nil }); err != nil {
		w.Fatal(err)
	}
	w.Applied(b)
	for _, n := range notes {
		if n.Kind == event.NoteAttempt {
			w.tried[n.Seq] = n
			continue
		}
		delete(w.pending, n.Seq)
		delete(w.dead, n.Seq)
		delete(w.retried, n.Seq)
		delete(w.tried, n.Seq)
		switch {
		case n.Outcome == event.Dead:
			w.dead[n.Seq] = true
		case n.Kind == event.NoteRequeue:
			w.pending[n.Seq], w.retried[n.Seq] = true, n.At
		}
	}
}

// clear does what is asked of the writer while a segment is cleared aside, and
// returns in how many steps. meanwhile is done before the first of them: by then
// the notes of all were read, but not all the events.
func (w *world) clear(t *testing.T, meanwhile ...func()) (steps int) {
	t.Helper()
	for w.Usage().Clearing {
		select {
		case task := <-w.Tasks():
			steps++
			for _, do := range meanwhile {
				do()
			}
			meanwhile = nil
			if err := task(); err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Millisecond):
		}
	}
	return steps
}

// The oldest segment goes once it is finished and past retain; a dead letter of
// it is carried with its number, and the counts stay.
func TestDeadLetterOutlivesItsSegment(t *testing.T) {
	w := newWorld(t)
	w.commit(nil, "A", "B")
	w.commit(map[uint64]event.State{1: event.Dead, 2: event.Pushed})
	if err := w.Roll(); err != nil {
		t.Fatal(err)
	}
	if err := w.DropOldest(false); !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("dropped before its time: %v", err)
	}
	w.later(2 * time.Hour)
	if err := w.Retire(); err != nil {
		t.Fatal(err)
	}
	w.clear(t)
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
	if err := w.Roll(); err != nil {
		t.Fatal(err)
	}
	w.later(1000 * time.Hour)
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

// What many unfinished events of a segment need to be carried is read aside: the
// writer, whom scans wait for, takes them in many small steps.
func TestSegmentIsClearedInSteps(t *testing.T) {
	w := newWorld(t)
	const n = 2000
	w.deadLetters(n, "W")
	if err := w.Roll(); err != nil {
		t.Fatal(err)
	}
	w.later(2 * time.Hour)
	if err := w.Retire(); err != nil {
		t.Fatal(err)
	}
	if len(w.Segments()) != 2 {
		t.Fatal("the writer cleared a segment in one step")
	}
	steps := w.clear(t)
	if len(w.Segments()) != 1 || steps < 4 {
		t.Errorf("%d segments after %d steps", len(w.Segments()), steps)
	}
	if c := w.Totals(); c.Received != n || c.Outcome[event.Dead] != n {
		t.Errorf("%+v", c)
	}
}

// Whatever becomes of an event while its segment is cleared, be it read already or
// not, it stands after that as its last note says, and what was known of its
// attempts is.
func TestEventsChangeWhileTheyAreCarried(t *testing.T) {
	w := newWorld(t)
	const n = 2000
	at := w.now().Add(time.Minute)
	retried, reply := at.Add(time.Minute), event.Reply{Reason: "second", ErrCode: 2, RID: "r2"}
	ended := func(seq uint64, outcome event.State) event.Note {
		s := event.Settlement{Seq: seq, Outcome: outcome, Attempts: 5, Last: reply}
		return s.Note(at)
	}
	died := func(seq uint64) event.Note { return ended(seq, event.Dead) }
	back := func(seq uint64) event.Note { return event.Note{Kind: event.NoteRequeue, Seq: seq, At: retried} }
	tried := func(seq uint64) event.Note {
		return event.Note{Kind: event.NoteAttempt, Seq: seq, At: at, Delay: time.Hour, Attempts: 3, Last: reply}
	}
	type notes []func(seq uint64) event.Note
	cases := []struct {
		name              string
		before, meanwhile notes
		dead, gone        bool
		retried, tried    bool
	}{
		{name: "pending"},
		{name: "waits", before: notes{tried}, tried: true},
		{name: "was put back and waits", before: notes{died, back, tried}, retried: true, tried: true},
		{name: "dead", before: notes{died}, dead: true},
		{name: "dies", meanwhile: notes{died}, dead: true},
		{name: "dies again", before: notes{func(seq uint64) event.Note {
			return event.Note{Kind: event.NoteOutcome, Outcome: event.Dead, Seq: seq, At: w.now(), Last: event.Reply{Reason: "first"}}
		}}, meanwhile: notes{back, died}, dead: true},
		{name: "is put back", before: notes{died}, meanwhile: notes{back}, retried: true},
		{name: "dies and is put back", meanwhile: notes{died, back}, retried: true},
		{name: "is put back and tried", before: notes{died}, meanwhile: notes{back, tried}, retried: true, tried: true},
		{name: "is tried", meanwhile: notes{tried}, tried: true},
		{name: "is pushed", meanwhile: notes{func(seq uint64) event.Note { return ended(seq, event.Pushed) }}, gone: true},
		{name: "is discarded", before: notes{died}, meanwhile: notes{func(seq uint64) event.Note { return ended(seq, event.Discarded) }}, gone: true},
	}
	ids, dead := make([]string, n), map[uint64]event.State{}
	for i := range ids {
		ids[i] = fmt.Sprint("W", i)
		if i >= len(cases) && i < n-len(cases) {
			dead[uint64(i+1)] = event.Dead
		}
	}
	w.commit(nil, ids...)
	w.commit(dead)
	all := func(of func(i int) notes) {
		for i := range cases {
			for _, note := range of(i) {
				w.note(note(uint64(i+1)), note(uint64(n-i)))
			}
		}
	}
	all(func(i int) notes { return cases[i].before })
	if err := w.Roll(); err != nil {
		t.Fatal(err)
	}
	w.later(4 * time.Hour)
	if err := w.Retire(); err != nil {
		t.Fatal(err)
	}
	w.clear(t, func() { all(func(i int) notes { return cases[i].meanwhile }) })
	if list := w.Segments(); len(list) != 1 || list[0].Number == 1 {
		t.Fatalf("the segment is still there: %+v", list)
	}
	if err := w.Journal.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	records := map[uint64]event.Record{}
	err := w.Scan(func(some []event.Record) error {
		for _, r := range some {
			records[r.ID.Seq] = r
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		for when, seq := range map[string]uint64{"early": uint64(i + 1), "late": uint64(n - i)} {
			t.Run(c.name+" "+when, func(t *testing.T) {
				r, held := records[seq]
				if held == c.gone || w.dead[seq] != c.dead || w.pending[seq] != (!c.dead && !c.gone) {
					t.Fatalf("held %t, dead %t, pending %t", held, w.dead[seq], w.pending[seq])
				}
				if c.dead && (r.State != event.Dead || r.Attempts != 5 || r.Last != reply || !r.FinishedAt.Equal(at)) {
					t.Errorf("came back as %+v", r)
				}
				if !w.retried[seq].Equal(retried) == c.retried {
					t.Errorf("put back at %v", w.retried[seq])
				}
				tried := w.tried[seq]
				if known := tried.Attempts == 3 && tried.Last == reply && tried.Delay == time.Hour; known != c.tried {
					t.Errorf("tried: %+v", tried)
				}
			})
		}
	}
}

// Where outcomes took the last room, so that not even a few dead letters can be
// carried, those that stand in the way make way, however few there are.
func TestDeadLettersWithoutRoomMakeWay(t *testing.T) {
	w := worldOf(t, 3<<20)
	const n = 60
	w.deadLetters(n, "W")
	var err error
	t.Cleanup(w.Stop) // what is done aside
	for inside := false; ; inside = errors.Is(err, journal.ErrNoSpace) {
		b := w.NewBatch()
		b.Inside = inside
		for i := range 400 { // so many that what the dead letters need to end is left
			e := storetest.Event(fmt.Sprint("F", i), fmt.Sprint(w.NextSeq(), i), 1795000000)
			seq := b.AddEvent(codec.EncodeEvent(&e), e.Waybill)
			s := event.Settlement{Seq: seq, Outcome: event.Pushed}
			b.AddNote(s.Note(w.now()))
		}
		if err = w.Commit(b, func() error { return nil }); err == nil {
			w.Applied(b)
			w.watermark = w.NextSeq() - 1
		} else if inside {
			break
		}
	}
	if !errors.Is(err, journal.ErrNoSpace) || w.Segments()[0].First != 1 {
		t.Fatal(err, w.Segments())
	}
	for range 5 {
		w.clear(t)
		if err := w.DropOldest(true); err != nil && !errors.Is(err, journal.ErrNoSpace) {
			t.Fatal(err)
		}
	}
	if w.Segments()[0].First == 1 {
		t.Error("the store is full for good")
	}
	if c := w.Totals(); c.Outcome[event.Dead]+w.State().NoRoom != n || c.Outcome[event.Discarded] != w.State().NoRoom {
		t.Errorf("%+v, %d had no room", c, w.State().NoRoom)
	}
}

// Dead letters that are carried while they are listed are listed all the same.
func TestListedWhileCarried(t *testing.T) {
	w := newWorld(t)
	const n = 1200 // read in three steps
	w.deadLetters(n, "W")
	if err := w.Roll(); err != nil {
		t.Fatal(err)
	}
	got := map[uint64]event.State{}
	err := w.ScanOnly(w.Dead(), func(records []event.Record) error {
		if len(got) == 0 {
			w.later(2 * time.Hour)
			if err := w.Retire(); err != nil {
				return err
			}
			w.clear(t)
		}
		for _, r := range records {
			got[r.ID.Seq] = r.State
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Segments()) != 1 {
		t.Fatalf("nothing was carried meanwhile: %+v", w.Segments())
	}
	for seq := range uint64(n) {
		if got[seq+1] != event.Dead {
			t.Fatalf("%d are listed, %d as %s", len(got), seq+1, got[seq+1])
		}
	}
}

// Where room is lacking the dead letters beyond their share make way, though a
// segment past retain is just being cleared, for which that need not be: it must
// not go on and on like this.
func TestRoomIsLackingWhileSegmentsAreCleared(t *testing.T) {
	w := worldOf(t, 4<<20)
	t.Cleanup(w.Stop)            // what is done aside
	for w.Usage().Dead < 9<<17 { // an eighth more than their share
		w.deadLetters(20, strings.Repeat("W", 200))
	}
	w.later(2 * time.Hour)
	if err := w.DropOldest(false); !errors.Is(err, journal.ErrNoSpace) || !w.Usage().Clearing {
		t.Fatal("no segment is being cleared", err)
	}
	for last := w.Segments()[len(w.Segments())-1].Number; w.State().NoRoom == 0; {
		if w.Segments()[0].Number > last {
			t.Fatal("all was carried in a circle, and nothing made way")
		}
		if err := w.DropOldest(true); err != nil && !errors.Is(err, journal.ErrNoSpace) {
			t.Fatal(err)
		}
		select {
		case task := <-w.Tasks():
			if err := task(); err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Millisecond):
		}
	}
}
