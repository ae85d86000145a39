package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/index"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/journal"
)

// outcomes says how each event stands, by its id.
func outcomes(t *testing.T, o *Outbox) map[string]event.State {
	t.Helper()
	states := map[string]event.State{}
	for _, r := range all(t, o, Filter{}) {
		states[r.Event.EventID] = r.State
	}
	return states
}

// loadAndCrash opens what is in a folder as a start does, with all that is rebuilt
// then, and ends before anything is decided about it.
func loadAndCrash(t *testing.T, dir string, opts Options) {
	t.Helper()
	if err := opts.fill(); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir, opts.journal())
	if err == nil {
		err = errors.Join(j.Load(index.New(j, 0, opts.Now)), j.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Where there is no room for anything at a start nothing is leased until there is,
// and what the checkpoint knows is written again.
func TestLostOutcomesWaitForRoom(t *testing.T) {
	t.Parallel()
	disk, mounted := storetest.SmallDisk(t, 8)
	if !mounted {
		return // nothing else is full to all files
	}
	opts, dir := Options{MaxSize: 1 << 30, QuarantineSize: 1 << 20}, filepath.Join(disk, "outbox")
	o := open(t, dir, opts)
	appendN(t, o, 300)
	syncAll(t, o)
	settle(t, o, event.Pushed, mustLease(t, o, 100)...)
	settle(t, o, event.Dead, mustLease(t, o, 50)...)
	closeChecked(t, o)
	path := o.journal.Segments()[0].Path
	for _, page := range storetest.PagesOf(t, path).Kinds["lower notes leaf"] {
		overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
	}
	spares, err := filepath.Glob(filepath.Join(dir, "spare-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(spares, filepath.Join(dir, stateName)) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	// Ends with ENOSPC, which is what it is for.
	_ = os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 8<<20), 0o600)
	for range 2 {
		o = open(t, dir, opts)
		if _, err := o.Lease(10, time.Minute); !errors.Is(err, ErrFull) {
			t.Errorf("an event is leased that had ended, perhaps: %v", err)
		}
		if err := o.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o = open(t, dir, opts)
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	<-o.Room()
	syncAll(t, o)
	if n := pushAll(t, o); n != 150 {
		t.Errorf("%d are pushed, want 150", n)
	}
	if c := o.Counts(); c.State[event.Pushed] != 250 || c.State[event.Dead] != 50 {
		t.Errorf("in the end %+v", c)
	}
}

// Damage takes the notes of how events ended, in a segment of any age, and by a stop
// or a kill: what the checkpoint knows of it is written again, each outcome as it
// was. Nothing is pushed twice.
func TestOutcomesThatDamageTookAreKnown(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	taken := 0
	for number := uint64(1); number <= 3; number++ {
		pages := storetest.PagesOf(t, filepath.Join(w.dir, format.Name(number))).Kinds
		for kind, list := range pages {
			if !strings.Contains(kind, "notes") {
				continue
			}
			for i, page := range list {
				dir := fastDir(t)
				w.copyTo(t, dir, i%2 == 0)
				overwrite(t, filepath.Join(dir, format.Name(number)), page*boltpage.PageSize, boltpage.PageSize)
				what := fmt.Sprintf("segment %d, %s page %d", number, kind, page)
				if i%3 == 0 { // it crashes once the segment is rebuilt, before that is written
					loadAndCrash(t, dir, small(w.clock))
				}
				o := openMended(t, dir, small(w.clock))
				for id, state := range outcomes(t, o) {
					if state != w.states[id] {
						t.Errorf("%s: %s is %s, was %s", what, id, state, w.states[id])
					}
				}
				for _, r := range all(t, o, Filter{}) {
					if r.Last.Reason == event.NoteLost {
						taken++
					}
				}
				closeChecked(t, o)
				for _, problem := range mustCheck(t, dir).Problems {
					if !strings.HasPrefix(problem, "damage: ") { // which a person takes away
						t.Errorf("%s: %s", what, problem)
					}
				}
			}
		}
	}
	if taken < 100 {
		t.Errorf("only %d outcomes were taken", taken)
	}
}

// Damage takes the notes with which dead letters were carried, out of a segment that is
// gone: those that ended since stand as they ended, and the checkpoint knows of the
// others that they are dead letters, by a stop and by a kill.
func TestCarriedEventsWhoseNotesAreLost(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 200)
	syncAll(t, o)
	settle(t, o, event.Dead, mustLease(t, o, 200)...)
	roll(t, o)
	o.journal.Wait() // the checkpoint knows of what is sealed
	if err := o.dropOldest(true); err != nil || segmentFiles(t, dir) != 1 {
		t.Fatalf("%d segments, %v", segmentFiles(t, dir), err)
	}
	ids := o.DeadIDs()
	if _, err := o.Discard(context.Background(), "looked at", ids[50:150]...); err != nil {
		t.Fatal(err)
	}
	settled := o.Counts().Settled
	killed := copied(t, dir)
	closeChecked(t, o)
	for from, known := range map[string]bool{dir: true, killed: true, copied(t, killed): false} {
		if !known {
			if err := os.Remove(filepath.Join(from, checkpointName)); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(from, format.Name(2))
		pages := storetest.PagesOf(t, path).Kinds
		for _, page := range append(pages["free"], pages["lower notes leaf"][0]) { // in free ones it stands as it was before
			overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
		}
		o := openMended(t, from, small(clock))
		c := o.Counts()
		if c.State[event.Discarded] != 100 || known && c.State[event.Dead] != 100 || !known && c.State[event.Dead] == 100 {
			t.Errorf("known %t: %v", known, c.State)
		}
		if known && c.Settled != settled {
			t.Errorf("settlements count %v, before %v", c.Settled, settled)
		}
		if n := pushAll(t, o); n != int(100-c.State[event.Dead]) {
			t.Errorf("known %t: %d are pushed of %v", known, n, c.State)
		}
		closeChecked(t, o)
		for _, problem := range mustCheck(t, from).Problems {
			if !strings.HasPrefix(problem, "damage: ") { // which a person takes away
				t.Errorf("known %t: %s", known, problem)
			}
		}
	}
}

// Where damage takes carried events with the notes that came along, the checkpoint knows
// which they were: they are named, and count. Without one it is told that some may be lost.
func TestCarriedEventsThatAreLostWithTheirNotes(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 200)
	syncAll(t, o)
	settle(t, o, event.Dead, mustLease(t, o, 200)...)
	roll(t, o)
	if err := o.dropOldest(true); err != nil || segmentFiles(t, dir) != 1 {
		t.Fatalf("%d segments, %v", segmentFiles(t, dir), err)
	}
	mustAppend(t, o, newEvent("W", "last", 1))
	roll(t, o)
	closeChecked(t, o)
	for from, known := range map[string]bool{dir: true, copied(t, dir): false} {
		if !known {
			if err := os.Remove(filepath.Join(from, checkpointName)); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(from, format.Name(2))
		pages := storetest.PagesOf(t, path).Kinds
		for _, page := range slices.Concat(pages["free"], pages["lower notes leaf"], pages["lower carried leaf"][:2]) {
			overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
		}
		o, err := Open(from, small(clock))
		if err != nil {
			t.Fatal(err)
		}
		c := o.Counts()
		if known && c.Received != 201 || !known && !strings.Contains(c.Damaged, "others that were carried may be lost") {
			t.Errorf("known %t: %d received of 201; it says %q", known, c.Received, c.Damaged)
		}
		closeChecked(t, o)
	}
}

// A checkpoint that was set aside and cannot be used goes all the same, and the start
// says so.
func TestCheckpointAsideThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	fillSegment(t, o, 40)
	closeChecked(t, o)
	aside := filepath.Join(dir, checkpointName+".before")
	if err := os.WriteFile(aside, []byte("no checkpoint"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, opts := &logged{}, small(clock)
	opts.Logger = log.logger()
	o = open(t, dir, opts)
	if durable.Exists(aside) || !strings.Contains(log.String(), "level=WARN msg=\"checkpoint that was set aside is passed over\"") {
		t.Errorf("it is there: %t; the log says\n%s", durable.Exists(aside), log)
	}
	if c := o.Counts(); c.State[event.Pushed] != 40 {
		t.Errorf("%+v", c)
	}
}

// Damage takes the notes with which events were carried, out of a segment that is
// gone, and no checkpoint knows: notes in segments between say that some are dead
// letters, that others were put back, and how often some were tried.
func TestCarriedEventsStandAsOlderNotesSay(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 200)
	syncAll(t, o)
	roll(t, o)
	settle(t, o, event.Dead, mustLease(t, o, 150)...)
	if _, err := o.Requeue(context.Background(), o.DeadIDs()[:50]...); err != nil {
		t.Fatal(err)
	}
	var tried event.Record
	var back []event.Retry
	for _, r := range mustLease(t, o, 100) {
		retry := event.Retry{Seq: r.ID.Seq, Lease: r.Lease}
		if tried.ID.Seq == 0 && !r.RetriedAt.IsZero() {
			tried, retry.At, retry.Attempts = r, clock.Now().Add(time.Hour), 3
		}
		back = append(back, retry)
	}
	if err := o.Release(back...); err != nil {
		t.Fatal(err)
	}
	roll(t, o)
	if err := o.dropOldest(true); err != nil || segmentFiles(t, dir) != 2 {
		t.Fatalf("%d segments, %v", segmentFiles(t, dir), err)
	}
	want, before := o.Counts(), outcomes(t, o)
	closeChecked(t, o)
	if err := os.Remove(filepath.Join(dir, checkpointName)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, format.Name(3))
	pages := storetest.PagesOf(t, path).Kinds
	for _, page := range append(pages["free"], pages["lower notes leaf"]...) { // in free ones it stands as it was before
		overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
	}
	o = openMended(t, dir, small(clock))
	if c := o.Counts(); c.State != want.State || c.Settled != want.Settled || c.Requeued != want.Requeued {
		t.Errorf("%+v\nwant %+v", c, want)
	}
	for id, state := range outcomes(t, o) {
		if state != before[id] {
			t.Errorf("%s is %s, was %s", id, state, before[id])
		}
	}
	for _, r := range all(t, o, Filter{}) {
		if r.ID.Seq == tried.ID.Seq && (r.Attempts != 3 || r.RetriedAt.IsZero()) {
			t.Errorf("of the event that was tried after it was put back is known %+v", r)
		}
	}
	if n := pushAll(t, o); n != 99 {
		t.Errorf("%d are pushed, want those that were put back or never died, but for the one that waits", n)
	}
}

// A reader of a stopped outbox says of events whose notes damage took what the next
// start will write again: where no start has met the damage yet, where a start crashed
// on its way, and where a segment has lost transactions.
func TestReaderKnowsLostOutcomes(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	path := format.Name(3)
	pages := storetest.PagesOf(t, filepath.Join(w.dir, path)).Kinds["lower notes leaf"]
	for name, spoil := range map[string]func(dir string){
		"not met yet":     func(string) {},
		"a start crashed": func(dir string) { loadAndCrash(t, dir, small(w.clock)) },
	} {
		for n, open := range map[string]func(string) (*Reader, error){"": OpenReadOnly, ", all looked at": OpenDamaged} {
			name := name + n
			dir := fastDir(t)
			w.copyTo(t, dir, true)
			overwrite(t, filepath.Join(dir, path), pages[0]*boltpage.PageSize, boltpage.PageSize)
			spoil(dir)
			files := contents(t, dir)
			r, err := open(dir)
			if err != nil {
				t.Fatal(err)
			}
			read := map[string]event.State{}
			again := 0
			for _, rec := range all(t, r, Filter{}) {
				read[rec.Event.EventID] = rec.State
				if rec.Last.Reason == event.NoteLost {
					again++
				}
			}
			counts := comparableCounts(r.Counts())
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if again == 0 {
				t.Errorf("%s: no outcome was lost: this tests nothing", name)
			}
			if !maps.Equal(files, contents(t, dir)) {
				t.Errorf("%s: the reader changed something", name)
			}
			o, err := Open(dir, small(w.clock))
			if err != nil {
				t.Fatal(err)
			}
			if started := outcomes(t, o); !maps.Equal(read, started) {
				for id, state := range started {
					if read[id] != state {
						t.Errorf("%s: %s is %s, the reader said %s", name, id, state, read[id])
					}
				}
			}
			if c := comparableCounts(o.Counts()); c.State != counts.State || c.Settled != counts.Settled || c.Requeued != counts.Requeued {
				t.Errorf("%s: %+v\nthe reader said %+v", name, c, counts)
			}
			closeChecked(t, o)
		}
	}
}

// A reader knows it, too, where a segment is whole and has lost its last transactions.
func TestReaderOfALostTransaction(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 30)
	syncAll(t, o)
	before := contents(t, dir)[filepath.Join(dir, format.Name(1))]
	settle(t, o, event.Dead, mustLease(t, o, 10)...)
	pushAll(t, o)
	closeChecked(t, o)
	if err := os.WriteFile(filepath.Join(dir, format.Name(1)), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if c := r.Counts(); c.State[event.Pushed] != 20 || c.State[event.Dead] != 10 {
		t.Errorf("%+v", c)
	}
	dead, pushed := event.Dead, event.Pushed
	if n, m := len(all(t, r, Filter{State: &dead})), len(all(t, r, Filter{State: &pushed})); n != 10 || m != 20 {
		t.Errorf("%d dead letters and %d that were pushed are listed", n, m)
	}
}

// The checkpoint that was set aside counts within max_size, and is gone for good once
// it was used: the folder is synced.
func TestCheckpointAsideCountsAndGoes(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	fillSegment(t, o, 40)
	o.journal.Wait() // the checkpoint goes on
	before := o.journal.Usage()
	aside := filepath.Join(dir, checkpointName+".before")
	if err := os.WriteFile(aside, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	if u := o.journal.Usage(); u.All-before.All != 1<<16 || u.Disk-before.Disk != 1<<16 {
		t.Errorf("64 KiB count as %d, and as %d of the disk", u.All-before.All, u.Disk-before.Disk)
	}
	closeChecked(t, o)
	if err := os.Rename(filepath.Join(dir, checkpointName), aside); err != nil {
		t.Fatal(err)
	}
	ops := record(t, dir, retryDir)
	i := slices.IndexFunc(ops, func(op diskOp) bool { return op.kind == "unlink" && op.from == filepath.Base(aside) })
	if i < 0 || ops[i+1].kind != "syncdir" {
		t.Errorf("its name does not go (%d), or the folder is not synced then", i)
	}
}
