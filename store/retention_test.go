package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// roll begins a new segment in an outbox whose committer has nothing to do.
func roll(t *testing.T, o *Outbox) {
	t.Helper()
	if err := o.roll(); err != nil {
		t.Fatal(err)
	}
}

func segmentFiles(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, segmentPrefix+"*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// Segments are filled, sealed, and unlinked whole once they are finished and
// past retain; counts survive.
func TestSegmentsComeAndGo(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	c := newTestClock()
	o := open(t, dir, small(c))
	const n = 800
	for i := range n {
		mustAppend(t, o, padded(fmt.Sprint("W", i%50), fmt.Sprint(i), c.Now().Unix(), 4000))
	}
	if got := segmentFiles(t, dir); got < 4 {
		t.Fatalf("%d segments", got)
	}
	syncAll(t, o)
	if got := pushAll(t, o); got != n {
		t.Fatalf("%d pushed", got)
	}
	o.retire()
	if got := segmentFiles(t, dir); got < 4 {
		t.Errorf("%d segments left before retain is over", got)
	}
	c.advance(200 * time.Hour)
	o.retire()
	if got := segmentFiles(t, dir); got != 1 {
		t.Errorf("%d segments left", got)
	}
	if got := o.Counts(); got.Received != n || got.State[event.Pushed] != n {
		t.Errorf("%+v", got)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	mustAppend(t, o, newEvent("W", "next", 1))
	if got := o.Counts(); got.Received != n+1 || got.NextSeq != n+2 {
		t.Errorf("%+v", got)
	}
}

// An unsynced segment stays, though all in it is finished: the centre came back
// from a backup and is to have it again.
func TestUnsyncedSegmentStays(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 3)
	syncAll(t, o)
	pushAll(t, o)
	roll(t, o)
	if err := o.Rewind(1); err != nil {
		t.Fatal(err)
	}
	c.advance(200 * time.Hour)
	if err := o.dropOldest(true); !errors.Is(err, errNoSpace) {
		t.Errorf("dropped: %v", err)
	}
}

// A crash between the commit of a segment's totals and its unlink: the next
// start unlinks it and counts nothing twice.
func TestCrashBeforeUnlink(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 3)
	syncAll(t, o)
	pushAll(t, o)
	roll(t, o)
	path := filepath.Join(dir, format.Name(1))
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.dropOldest(true); err != nil {
		t.Fatal(err)
	}
	want := o.Counts()
	closeChecked(t, o)
	if err := os.WriteFile(path, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, small(c))
	if got := o.Counts(); comparableCounts(got) != comparableCounts(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("segment: %v", err)
	}
}

// Dead letters never vanish by age, nor do they hold a segment for ever: they
// are carried, with their number and all that is known of them.
func TestDeadLetterIsCarried(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("A", "a1", 100), newEvent("A", "a2", 200), newEvent("B", "b1", 300), newEvent("C", "c1", 400))
	dieOne(t, o)
	if err := o.Release(event.Retry{Seq: 3, At: c.Now().Add(time.Hour), Attempts: 1}); err != nil {
		t.Fatal(err)
	}
	for _, r := range mustLease(t, o, 10) {
		settle(t, o, event.Pushed, r)
	}
	c.advance(2 * time.Minute) // c1's first lease runs out
	for _, r := range mustLease(t, o, 10) {
		settle(t, o, event.Pushed, r)
	}
	for range 3 { // carried again and again
		roll(t, o)
		c.advance(200 * time.Hour)
		o.retire()
	}
	if got := segmentFiles(t, dir); got != 1 {
		t.Errorf("%d segments", got)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	dead := event.Dead
	got := all(t, o, Filter{State: &dead})
	if len(got) != 1 || got[0].Event.EventID != "a1" || got[0].Attempts != 5 || got[0].Last.RID != "rid-1" || got[0].FinishedAt.IsZero() {
		t.Fatalf("%+v", got)
	}
	if n, err := o.Requeue(context.Background(), got[0].ID); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if newest, ok, err := o.Newer("A", 1); err != nil || !ok || newest != 200 {
		t.Errorf("newer than a1: %d %t; a2 is long gone, but was pushed", newest, ok)
	}
	if n := pushAll(t, o); n != 2 {
		t.Errorf("%d pushed, want a1 and b1", n)
	}
	if got := o.Counts(); got.Received != 4 || got.State[event.Pushed] != 4 {
		t.Errorf("%+v", got)
	}
}

// However many are unfinished, they are carried, in as many commits as it takes.
func TestManyAreCarried(t *testing.T) {
	const n, waiting = 2000, 300
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	appendN(t, o, n)
	syncAll(t, o)
	settle(t, o, event.Dead, mustLease(t, o, n-waiting)...)
	roll(t, o)
	if err := o.dropOldest(true); err != nil {
		t.Errorf("not dropped: %v", err)
	}
	if got := segmentFiles(t, dir); got != 1 {
		t.Errorf("%d segments", got)
	}
	closeChecked(t, o)
	o = open(t, dir, small(newTestClock()))
	if c := o.Counts(); c.State[event.Dead] != n-waiting || c.State[event.ToPush] != waiting {
		t.Errorf("%+v", c)
	}
	if got := pushAll(t, o); got != waiting {
		t.Errorf("%d pushed", got)
	}
}

// What the store takes of the disk is all that is there, and is asked of those files
// only that may change: counts are asked for with each sync.
func TestCountsLookAtNoSealedFile(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	for range 3 {
		appendN(t, o, 100)
		roll(t, o)
	}
	o.journal.Wait() // for registers
	all := int64(0)
	for _, pattern := range []string{"*.db", "*.register", "*.checkpoint"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			all += durable.OnDisk(f)
		}
	}
	if c := o.Counts(); c.FileBytes != all || all == 0 {
		t.Errorf("%d bytes, but %d are there", c.FileBytes, all)
	}
	sealed := filepath.Join(dir, format.Name(1))
	if err := os.Rename(sealed, sealed+"-away"); err != nil {
		t.Fatal(err)
	}
	if c := o.Counts(); c.FileBytes != all {
		t.Errorf("a sealed file was looked at again: %d bytes", c.FileBytes)
	}
	if err := os.Rename(sealed+"-away", sealed); err != nil {
		t.Fatal(err)
	}
}

// Who asks for the state does it while the committer notes when it first saw a segment
// that was begun under a clock that was wrong.
func TestStateWhileSegmentsAreLookedAt(t *testing.T) {
	t.Parallel()
	c := newTestClock()
	const years = 50 * 365 * 24 * time.Hour
	c.advance(-years)
	o := open(t, fastDir(t), small(c))
	mustAppend(t, o, padded("W1", "1", c.Now().Unix(), 40))
	c.advance(years)
	var readers sync.WaitGroup
	var retired atomic.Bool
	for range 4 {
		readers.Go(func() {
			for !retired.Load() {
				o.journal.State()
			}
		})
	}
	o.retire()
	retired.Store(true)
	readers.Wait()
	if len(o.journal.State().Seen) == 0 {
		t.Error("nothing was noted")
	}
}

// What a segment came to that was dropped is known though the newest one, which said so,
// is damaged or goes back in time: outbox.state says it, too. Where that is
// gone as well the numbers are counted, and it is told.
func TestTotalsOfDroppedSegments(t *testing.T) {
	t.Parallel()
	c := newTestClock()
	from := fastDir(t)
	o := open(t, from, small(c))
	for range 3 {
		fillSegment(t, o, 40)
	}
	newest := filepath.Join(from, format.Name(4))
	old := contents(t, from)[newest]
	for range 2 {
		if err := o.dropOldest(true); err != nil {
			t.Fatal(err)
		}
	}
	o.journal.Wait()
	files, want := contents(t, from), o.Counts()
	closeChecked(t, o)
	noRoot := []byte(files[newest])
	for page := range slices.Chunk(noRoot, boltpage.PageSize) {
		if bytes.Contains(page, []byte("base")) {
			clear(page)
		}
	}
	for name, content := range map[string]string{"a transaction back": old, "its root is void": string(noRoot), "nothing can be read": ""} {
		for _, marked := range []bool{true, false} {
			what, dir := fmt.Sprintf("%s, outbox.state there: %t", name, marked), fastDir(t)
			writeFiles(t, dir, files)
			if err := os.WriteFile(filepath.Join(dir, format.Name(4)), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if !marked {
				if err := os.Remove(filepath.Join(dir, stateName)); err != nil {
					t.Fatal(err)
				}
			}
			log := &logged{}
			opts := small(c)
			opts.Logger = log.logger()
			if r, err := OpenReadOnly(dir); err != nil || r.Counts().Received != want.Received {
				t.Errorf("%s: a reader: %v", what, err)
			} else if err := r.Close(); err != nil {
				t.Error(err)
			}
			for range 2 {
				o, err := Open(dir, opts)
				if err != nil {
					t.Fatal(what, err)
				}
				got := o.Counts()
				if got.Received != want.Received || got.NextSeq != want.NextSeq || marked && got.State[event.Pushed] != want.State[event.Pushed] || !marked && got.State[event.Discarded] != 80 {
					t.Errorf("%s: %d received, next %d, %v; %d, %d, %v before", what, got.Received, got.NextSeq, got.State, want.Received, want.NextSeq, want.State)
				}
				closeChecked(t, o)
			}
			if n := strings.Count(log.String(), "80 numbers were given to events that are in no file"); n != map[bool]int{false: 1}[marked] {
				t.Errorf("%s: it is told %d times", what, n)
			}
			r, err := Check(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Problems {
				if !strings.HasPrefix(p, "damage:") {
					t.Errorf("%s: check says %s", what, p)
				}
			}
		}
	}
}
