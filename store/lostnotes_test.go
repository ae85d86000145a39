package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	disk, mounted := tmpfs(t, 8)
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
