package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
)

const checkpointName = "outbox.checkpoint"

// logged collects what an outbox logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// believed reports whether a start took the checkpoint's word.
func (l *logged) believed() bool {
	return !strings.Contains(l.String(), "checkpoint is passed over") && !strings.Contains(l.String(), "all segments are read")
}

// whole says all that an outbox knows of its events.
func whole(t *testing.T, o *Outbox) string {
	t.Helper()
	var b strings.Builder
	c := o.Counts()
	c.FileBytes = 0 // one of them has a checkpoint
	fmt.Fprintf(&b, "%+v\n", c)
	for _, s := range o.journal.Segments() {
		fmt.Fprintf(&b, "segment %d: %d to %d, %d notes, finished %s\n", s.Number, s.First, s.Last, s.Notes, s.Finished)
	}
	var again scan.Batch
	for _, r := range all(t, o, Filter{}) {
		again.Events = append(again.Events, r.Event)
		fmt.Fprintf(&b, "%+v\n", r)
		if pending, _ := o.index.Stands(r.ID.Seq); pending {
			n, ok := o.index.Attempt(r.ID.Seq)
			newer, later, err := o.Newer(r.Event.Waybill, r.ID.Seq)
			fmt.Fprintf(&b, "  %d attempts %t, newer %d %t %v\n", n.Attempts, ok, newer, later, err)
		}
		same, err := o.OfWaybills([]scan.WaybillID{r.Event.Waybill}, 1000)
		fmt.Fprintf(&b, "  of its waybill %v %v\n", seqsOf(same), err)
	}
	fmt.Fprintln(&b, "pending", o.index.Pending(0, 1<<20), "dead", o.DeadIDs())
	stored, err := o.Append(context.Background(), again)
	fmt.Fprintln(&b, "again", stored, err)
	return b.String()
}

// firstDifference returns the first line that is another one.
func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("got  %s\nwant %s", x[i], y[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(x), len(y))
}

// fromCopy opens a copy of an outbox whose checkpoint is what change makes of it,
// and says what it knows.
func (r *modelRun) fromCopy(dir string, opts Options, change func(path string)) (knows string, believed bool) {
	r.Helper()
	dir = copied(r.T, dir)
	change(filepath.Join(dir, checkpointName))
	log := &logged{}
	opts.Logger = log.logger()
	o, err := Open(dir, opts)
	if err != nil {
		r.Fatal(err)
	}
	knows = whole(r.T, o)
	closeChecked(r.T, o)
	if err := os.RemoveAll(dir); err != nil {
		r.Fatal(err)
	}
	return knows, log.believed()
}

// An outbox that was opened by its checkpoint is the same as one that read all of
// its segments: after histories of all that happens, stopped or killed, by the
// checkpoint of then or by earlier ones. One that is anything else is not believed.
func TestCheckpointIsARecount(t *testing.T) {
	t.Parallel()
	runs := 4
	if testing.Short() {
		runs = 1
	}
	for i := range runs {
		seed := uint64(i) + 1
		t.Run(fmt.Sprint(seed), func(t *testing.T) { recountRun(t, seed) })
	}
}

func recountRun(t *testing.T, seed uint64) {
	r := &modelRun{
		T: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 77)), clock: newTestClock(), dir: fastDir(t),
		model: &model{ids: map[string]bool{}, dropped: map[string]bool{}},
	}
	r.open(r.dir)
	ops := []func(){
		r.append, r.append, r.append, r.synced, r.synced, r.lease, r.lease, r.settle, r.settle, r.release, r.park, r.wake,
		r.requeue, r.discard, r.advance, r.rewind, r.epoch, r.roll, r.roll, r.dropOldest, r.dropOldest, r.restart, r.crash,
	}
	var earlier []string
	tried := 0
	for n := range 120 {
		ops[r.rnd.IntN(len(ops))]()
		if kept, err := os.ReadFile(filepath.Join(r.dir, checkpointName)); err == nil && r.rnd.IntN(8) == 0 {
			earlier = append(earlier, string(kept))
		}
		if n%30 == 29 {
			tried += r.compare(earlier)
		}
	}
	if tried == 0 {
		t.Error("no checkpoint was ever believed")
	}
}

func (r *modelRun) roll() {
	if err := r.o.roll(); err != nil {
		r.Fatal(err)
	}
}

func (r *modelRun) dropOldest() {
	if len(r.o.journal.Segments()) > 3 {
		_ = r.o.dropOldest(true) // it may have to stay
	}
}

// compare opens copies of the outbox as a kill would leave it, and as a stop does,
// by every checkpoint there was and by none. It returns how often one was believed.
func (r *modelRun) compare(earlier []string) (believed int) {
	opts := small(r.clock)
	opts.windowSize = []int{0, 8}[r.rnd.IntN(2)]
	if err := r.o.change(context.Background(), &changeOp{}); err != nil { // the committer has nothing to do now
		r.Fatal(err)
	}
	killed := copied(r.T, r.dir)
	r.restart()
	for _, dir := range []string{killed, copied(r.T, r.dir)} {
		want, _ := r.fromCopy(dir, opts, func(path string) { _ = os.Remove(path) })
		ways := map[string]func(path string){"as it is": func(string) {}}
		for i, content := range earlier[max(0, len(earlier)-2):] {
			ways[fmt.Sprint("earlier ", i)] = func(path string) { _ = os.WriteFile(path, []byte(content), 0o600) }
		}
		for name, change := range ways {
			got, ok := r.fromCopy(dir, opts, change)
			if got != want {
				r.Fatalf("by a checkpoint %s:\n%s", name, firstDifference(got, want))
			}
			if ok {
				believed++
			}
		}
	}
	return believed
}

// A checkpoint that is damaged, cut off, of another store, of a newer release, or
// no file at all, is not believed, and the start is as good as without.
func TestBadCheckpointIsNotBelieved(t *testing.T) {
	t.Parallel()
	dir, other, clock := fastDir(t), fastDir(t), newTestClock()
	for _, d := range []string{dir, other} {
		o := open(t, d, small(clock))
		for range 3 {
			fillSegment(t, o, 40)
		}
		closeChecked(t, o)
	}
	path := func(d string) string { return filepath.Join(d, checkpointName) }
	good, err := os.ReadFile(path(dir))
	if err != nil {
		t.Fatal(err)
	}
	strange, err := os.ReadFile(path(other))
	if err != nil {
		t.Fatal(err)
	}
	framed := func(b []byte) []byte {
		return codec.Frame([]byte("checkpoint"), b[:len(b)-codec.CRCSize:len(b)-codec.CRCSize])
	}
	ways := map[string][]byte{
		"empty": {}, "cut off": good[:len(good)/2], "of another store": strange, "zeros": make([]byte, len(good)),
		"of a newer release":  framed(append([]byte{codec.Version + 1}, good[1:]...)),
		"of a later layout":   framed(slices.Concat(good[:1], []byte{99}, good[2:])),
		"with another number": framed(slices.Concat(good[:3], []byte{good[3] + 1}, good[4:])),
	}
	for at := 0; at < len(good); at += 1 + len(good)/40 {
		b := slices.Clone(good)
		b[at] ^= 1 << (at % 8)
		ways[fmt.Sprint("flipped at ", at)] = b
	}
	r := &modelRun{T: t}
	want, _ := r.fromCopy(dir, small(clock), func(path string) { _ = os.Remove(path) })
	for name, content := range ways {
		spoil := func(path string) {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, believed := r.fromCopy(dir, small(clock), spoil)
		if believed || got != want {
			t.Errorf("%s: believed %t\n%s", name, believed, firstDifference(got, want))
		}
		spoiled := copied(t, dir)
		spoil(path(spoiled))
		if found := mustCheck(t, spoiled); found.Good() || !strings.Contains(strings.Join(found.Problems, "\n"), "checkpoint") {
			t.Errorf("%s: Check says %v", name, found.Problems)
		}
	}
	if got, believed := r.fromCopy(dir, small(clock), func(string) {}); !believed || got != want {
		t.Errorf("as it is: believed %t\n%s", believed, firstDifference(got, want))
	}
}

// fillSegment stores events, finishes them and begins another segment.
func fillSegment(t testing.TB, o *Outbox, n int) {
	t.Helper()
	next := o.Counts().NextSeq
	for i := range uint64(n) {
		seq := next + i
		mustAppend(t, o, newEvent(fmt.Sprint("W", seq%12), fmt.Sprint("e", seq), 1795000000))
	}
	syncAll(t, o)
	pushAll(t, o)
	if err := o.roll(); err != nil {
		t.Fatal(err)
	}
}

// pagesRead counts the reads of each file until it is stopped, but for those aside.
func pagesRead(t *testing.T) (stop func() map[string]int) {
	var mu sync.Mutex
	reads := map[string]int{}
	undo := durable.FailReads(func(path string, _ int64) error {
		if !bytes.Contains(debug.Stack(), []byte("lookAside")) {
			mu.Lock()
			reads[filepath.Base(path)]++
			mu.Unlock()
		}
		return nil
	})
	t.Cleanup(undo)
	return func() map[string]int {
		undo()
		mu.Lock()
		defer mu.Unlock()
		return reads
	}
}

// A start reads a few pages of each sealed segment, however much is in it: where
// every page of it was read before, whoever was killed or stopped.
func TestStartIsFlatInWhatIsRetained(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	opts := small(clock)
	opts.MaxSize, opts.windowSize, opts.identities = 1<<30, 16, 10
	o := open(t, dir, opts)
	per, times := 400, storetest.Rounds(10, 5)
	for range 4 {
		fillSegment(t, o, per)
	}
	for range 4 { // as long again, with so many times as much in each
		for range times - 1 {
			next := o.Counts().NextSeq
			for i := range uint64(per) {
				mustAppend(t, o, newEvent(fmt.Sprint("W", (next+i)%12), fmt.Sprint("e", next+i), 1795000000))
			}
			syncAll(t, o)
			pushAll(t, o)
		}
		fillSegment(t, o, per)
	}
	o.journal.Wait()
	killed := copied(t, dir)
	closeChecked(t, o)
	for what, dir := range map[string]string{"stopped": dir, "killed": killed} {
		stop := pagesRead(t)
		o, err := Open(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		reads := stop()
		for i := range 8 {
			n, pages := reads[format.Name(uint64(i+1))], durable.Size(filepath.Join(dir, format.Name(uint64(i+1))))/boltpage.PageSize
			t.Logf("%s: %d reads of segment %d, which has %d pages", what, n, i+1, pages)
			if n == 0 || n > 40 {
				t.Errorf("%s: %d reads of segment %d", what, n, i+1)
			}
		}
		closeChecked(t, o)
	}
}

// Where the checkpoint cannot be written, the outbox goes on and stops as ever, and
// the next start reads more.
func TestCheckpointWithoutRoom(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		dir, clock, log := fastDir(t), newTestClock(), &logged{}
		opts := small(clock)
		opts.Logger = log.logger()
		o := open(t, dir, opts)
		o.journal.Wait()
		if !kept {
			if err := os.Remove(filepath.Join(dir, checkpointName)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(dir, checkpointName+durable.TempSuffix), 0o700); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			fillSegment(t, o, 40)
		}
		closeChecked(t, o)
		if kept && !strings.Contains(log.String(), "level=DEBUG msg=\"checkpoint does not go on") {
			t.Errorf("nothing is said of it:\n%s", log)
		}
		if strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("it is no error:\n%s", log)
		}
		o = open(t, dir, opts)
		if c := o.Counts(); c.Received != 120 || c.State[event.Pushed] != 120 {
			t.Errorf("%+v", c)
		}
		closeChecked(t, o)
		if !durable.Exists(filepath.Join(dir, checkpointName)) {
			t.Error("the next start made none")
		}
	}
}

// Its space counts within max_size.
func TestCheckpointCounts(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	o := open(t, dir, small(newTestClock()))
	fillSegment(t, o, 40)
	o.journal.Wait()
	before := o.journal.Usage().All
	path := filepath.Join(dir, checkpointName)
	if err := os.Truncate(path, durable.Size(path)+1<<16); err != nil {
		t.Fatal(err)
	}
	if n := o.journal.Usage().All - before; n != 1<<16 {
		t.Errorf("64 KiB count as %d", n)
	}
	if err := os.Truncate(path, durable.Size(path)-1<<16); err != nil {
		t.Fatal(err)
	}
}

// Nothing personal is in it, nor anything from which that can be reckoned: the
// hash of a carried event's waybill has a key.
func TestCheckpointTellsNothing(t *testing.T) {
	t.Parallel()
	kept := func() string {
		dir, clock := fastDir(t), newTestClock()
		o := open(t, dir, small(clock))
		mustAppend(t, o, newEvent("YT6900634716900", "secret-id", 1795000000))
		syncAll(t, o)
		settleWith(t, o, mustLease(t, o, 1)[0], "receiver moved to secret street")
		if err := o.roll(); err != nil {
			t.Fatal(err)
		}
		if err := o.dropOldest(true); err != nil {
			t.Fatal(err)
		}
		closeChecked(t, o)
		b, err := os.ReadFile(filepath.Join(dir, checkpointName))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a, b := kept(), kept()
	for _, s := range []string{"YT6900634716900", "6900634716900", "secret"} {
		if strings.Contains(a, s) {
			t.Errorf("%q is in it", s)
		}
	}
	if a[:len(a)-36] == b[:len(b)-36] {
		t.Error("two stores have the same hash of a waybill")
	}
}

func settleWith(t *testing.T, o *Outbox, r event.Record, reason string) {
	t.Helper()
	err := o.Settle(context.Background(), []event.Settlement{{Seq: r.ID.Seq, Lease: r.Lease, Outcome: event.Dead, Attempts: 1, Last: event.Reply{Reason: reason}}})
	if err != nil {
		t.Fatal(err)
	}
}

// A segment that goes back in time is noticed: what the checkpoint knows last is
// not there. How events ended is known by it all the same.
func TestCheckpointOfALostTransaction(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 30)
	syncAll(t, o)
	o.journal.Wait()
	before := contents(t, dir)[filepath.Join(dir, format.Name(1))]
	pushAll(t, o)
	closeChecked(t, o)
	if err := os.WriteFile(filepath.Join(dir, format.Name(1)), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &logged{}
	opts := small(clock)
	opts.Logger = log.logger()
	o = open(t, dir, opts)
	if c := o.Counts(); c.State[event.Pushed] != 30 || c.Received != 30 {
		t.Errorf("%+v", c)
	}
	if log.believed() {
		t.Error("it was believed")
	}
}

// A meta page of a sealed segment is void: the next start says so, once, though a
// checkpoint tells of all that is in the segment; nothing of it is lost.
func TestVoidMetaPageIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	for page := range int64(2) {
		dir, clock := fastDir(t), newTestClock()
		o := open(t, dir, small(clock))
		for range 3 {
			fillSegment(t, o, 40)
		}
		closeChecked(t, o)
		overwrite(t, filepath.Join(dir, format.Name(1)), page*boltpage.PageSize, boltpage.PageSize)
		o, err := Open(dir, small(clock))
		if err != nil {
			t.Fatal(err)
		}
		told := o.Counts().Damaged
		if strings.Count(told, format.Name(1)) != 1 || !strings.Contains(told, "kept as") {
			t.Errorf("page %d: it starts with %q", page, told)
		}
		closeChecked(t, o)
		o = open(t, dir, small(clock))
		o.journal.Wait()
		if c := o.Counts(); c.State[event.Pushed] != 120 || c.Damaged != told {
			t.Errorf("page %d: then %+v", page, c)
		}
	}
}
