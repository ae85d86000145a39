package store

import (
	"context"
	"errors"
	"fmt"
	"golang.org/x/sys/unix"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/journal"
	"scanrelay/store/quarantine"
)

// testClock is a clock that a test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock {
	return &testClock{now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *testClock) advance(d time.Duration) { c.set(c.Now().Add(d)) }

// small are options whose segments are as small as they get.
func small(c *testClock) Options {
	return Options{MaxSize: 64 << 20, segmentSize: format.MinSize, QuarantineSize: quarantine.MinSize, Now: c.Now}
}

// fastDir is a folder in memory where there is one: thousands of runs would
// wait for a disk that has nothing to do with what they test.
func fastDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "outbox")
	if err != nil || freeOf("/dev/shm") < 1<<30 {
		_ = os.Remove(dir) // empty
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// copied copies the files of an open outbox, as a kill would leave them.
func copied(t testing.TB, from string) (dir string) {
	t.Helper()
	dir = fastDir(t)
	files, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a register that just got its name
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(f)), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open opens an outbox. When the test ends it is closed and its invariants are
// checked, so that no test can forget.
func open(t testing.TB, dir string, opts Options) *Outbox {
	t.Helper()
	o, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeChecked(t, o) })
	return o
}

// openMended opens an outbox and reads all of it, and opens it once more where there
// is damage in what a start leaves out: it is met by who reads it, aside at the
// latest, and the next start mends it.
func openMended(t testing.TB, dir string, opts Options) *Outbox {
	t.Helper()
	o, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	o.journal.Wait()
	err = o.Scan(context.Background(), Filter{}, func(event.Record) error { return nil })
	met := strings.Contains(o.Counts().Damaged, "a restart mends")
	if err != nil && !met {
		t.Errorf("damage was met, and not told: %v", err)
	}
	if err := o.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, opts)
	if met && !strings.Contains(o.Counts().Damaged, "set aside") && !strings.Contains(o.Counts().Damaged, "kept as") {
		t.Errorf("damage was met, and not mended: %q", o.Counts().Damaged)
	}
	return o
}

// closeChecked closes the outbox if it is open and checks that counts
// add up, and a recount from the files alone comes to the same.
func closeChecked(t testing.TB, o *Outbox) {
	t.Helper()
	select {
	case <-o.stopped:
		return
	default:
	}
	checkSum(t, o.Counts())
	if err := o.Close(context.Background()); err != nil && o.Err() == nil {
		t.Errorf("close: %v", err)
	}
	if o.Err() == nil {
		checkRecount(t, o)
	}
}

func checkSum(t testing.TB, c Counts) {
	t.Helper()
	sum := uint64(0)
	for _, n := range c.State {
		sum += n
	}
	if sum != c.Received {
		t.Errorf("received %d, but the states add up to %d: %v", c.Received, sum, c.State)
	}
}

func checkRecount(t testing.TB, o *Outbox) {
	t.Helper()
	r, err := OpenReadOnly(o.dir)
	if err != nil {
		t.Errorf("recount: %v", err)
		return
	}
	defer r.Close()
	got, want := comparableCounts(r.Counts()), comparableCounts(o.Counts())
	if got.Damaged != "" { // a reader looks itself, and may say more
		want.Damaged = got.Damaged
	}
	if got != want {
		t.Errorf("recount from disk\n got %+v\nwant %+v", got, want)
	}
	checkSum(t, r.Counts())
	if what := r.journal.VerifyCheckpoint(); what != "" {
		t.Errorf("checkpoint: %s", what)
	}
}

// comparableCounts leaves out what is about, or is told of a running outbox only.
func comparableCounts(c Counts) Counts {
	c.FileBytes, c.LiveBytes, c.Unreserved, c.Full, c.DeadBytes, c.Crowded = 0, 0, 0, false, 0, false
	return c
}

// newEvent makes a scan event received a second after its action.
func newEvent(waybill, id string, action int64) scan.Event {
	return storetest.Event(waybill, id, action)
}

// padded makes an event whose record takes about size bytes.
func padded(waybill, id string, action int64, size int) scan.Event {
	e := newEvent(waybill, id, action)
	e.ActionMsg = scan.Text(strings.Repeat("x", size))
	return e
}

func batch(events ...scan.Event) scan.Batch { return scan.Batch{Events: events} }

func mustAppend(t testing.TB, o *Outbox, events ...scan.Event) {
	t.Helper()
	if _, err := o.Append(context.Background(), batch(events...)); err != nil {
		t.Fatal(err)
	}
}

// appendN appends n events of as many waybills, W0 to Wn-1.
func appendN(t testing.TB, o *Outbox, n int) {
	t.Helper()
	events := make([]scan.Event, n)
	for i := range events {
		events[i] = newEvent(fmt.Sprintf("W%d", i), fmt.Sprintf("e%d", i), 1795000000+int64(i))
	}
	mustAppend(t, o, events...)
}

// syncAll lets the centre have everything.
func syncAll(t testing.TB, o *Outbox) {
	t.Helper()
	if err := o.Synced(o.Counts().NextSeq-1, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func mustLease(t testing.TB, o *Outbox, n int) []event.Record {
	t.Helper()
	records, err := o.Lease(n, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func settle(t testing.TB, o *Outbox, outcome event.State, records ...event.Record) {
	t.Helper()
	var s []event.Settlement
	for _, r := range records {
		s = append(s, event.Settlement{Seq: r.ID.Seq, Lease: r.Lease, Outcome: outcome, Attempts: 1})
	}
	if err := o.Settle(context.Background(), s); err != nil {
		t.Fatal(err)
	}
}

// pushAll leases and settles until nothing is left to push.
func pushAll(t testing.TB, o *Outbox) (n int) {
	t.Helper()
	for {
		r := mustLease(t, o, 500)
		if len(r) == 0 {
			return n
		}
		settle(t, o, event.Pushed, r...)
		n += len(r)
	}
}

// all reads every record.
func all(t testing.TB, o interface {
	Scan(context.Context, Filter, func(event.Record) error) error
}, f Filter) (records []event.Record) {
	t.Helper()
	err := o.Scan(context.Background(), f, func(r event.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// Names in the outbox's folder.
const (
	stateName      = "outbox.state"
	segmentPrefix  = "segment-"
	segmentSuffix  = ".db"
	registerSuffix = ".register"
)

const (
	coolFor = 5 * time.Minute // how long events cool when many fail
)

var errNoSpace = journal.ErrNoSpace

func freeOf(dir string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

func newest(o *Outbox) journal.Segment {
	all := o.journal.Segments()
	return all[len(all)-1]
}

// What the committer does by itself now and then; it has nothing to do meanwhile.

// DeadIDs returns the ids of the dead letters, rising.
func (v *View) DeadIDs() (ids []ID) {
	st := v.journal.State()
	for _, seq := range v.index.Dead() {
		ids = append(ids, ID{Epoch: st.EpochOf(seq), Seq: seq})
	}
	return ids
}

func (o *Outbox) roll() error { return o.inWriter(o.journal.Roll) }

// inWriter has the committer do something, and waits until what it began aside is
// done, too.
func (o *Outbox) inWriter(fn func() error) (err error) {
	if changed := o.change(context.Background(), &changeOp{set: func(*group) {}, then: func() { err = fn() }}); changed != nil {
		return changed
	}
	for o.journal.Usage().Clearing {
		time.Sleep(time.Millisecond)
	}
	// The last step may not be over yet.
	return errors.Join(err, o.change(context.Background(), &changeOp{set: func(*group) {}}))
}

// dropOldest drops the oldest segment, what is unfinished in it carried before.
func (o *Outbox) dropOldest(force bool) (err error) {
	first := o.journal.Segments()[0].Number
	err = o.inWriter(func() error { return o.journal.DropOldest(force) })
	if o.journal.Segments()[0].Number != first {
		err = nil
	}
	return err
}

// retire drops what is past retain.
func (o *Outbox) retire() {
	for n := 0; n != len(o.journal.Segments()); {
		n = len(o.journal.Segments())
		if err := o.inWriter(o.journal.Retire); err != nil {
			o.fail(err)
		}
	}
}

// checkIndex holds that what is in memory agrees with itself.
func checkIndex(t testing.TB, o *Outbox) {
	t.Helper()
	if err := o.index.Verify(); err != nil {
		t.Error(err)
	}
}

// eventually waits until something that the outbox does by itself is done.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("minutes are over, and not yet: %s", what)
		}
	}
}
