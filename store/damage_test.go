package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/repair"
)

// boltCheck names files that the child process opens and checks with bbolt, as
// the agent would: a bad page kills it.
const boltCheck = "SCANRELAY_STORE_BOLT_CHECK"

func checkWithBolt(path string) error {
	if flips := os.Getenv(boltFlips); flips != "" {
		return flipWithBolt(path, flips)
	}
	db, err := bolt.Open(path, 0o600, boltpage.Options(format.MinSize))
	if err != nil {
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	})
	return errors.Join(err, db.Close())
}

// damagedWorld is an outbox of several segments in a folder, and what is in it.
type damagedWorld struct {
	dir    string
	clock  *testClock
	states map[string]event.State // by event id
	last   uint64
	epoch  uint64
}

// madeOnce is what a world's first making left: all tests begin with a copy, since
// to store its events takes longer than most of what is done with them.
type madeOnce struct {
	sync.Mutex
	world damagedWorld
	files map[string]string // by path
}

// copy returns a world in a folder of its own.
func (m *madeOnce) copy(t *testing.T, build func(*testing.T) *damagedWorld) *damagedWorld {
	t.Helper()
	m.Lock()
	defer m.Unlock()
	if m.files == nil {
		m.world = *build(t)
		m.files = contents(t, m.world.dir)
	}
	w := m.world
	w.dir, w.clock, w.states = fastDir(t), newTestClock(), maps.Clone(w.states)
	w.clock.set(m.world.clock.Now())
	writeFiles(t, w.dir, m.files)
	return &w
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for path, content := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var oneDamagedWorld, oneDeepWorld madeOnce

// newDamagedWorld has events in three segments; a part is finished, one is a dead
// letter that was carried.
func newDamagedWorld(t *testing.T) *damagedWorld {
	t.Helper()
	return oneDamagedWorld.copy(t, makeDamagedWorld)
}

func makeDamagedWorld(t *testing.T) *damagedWorld {
	w := &damagedWorld{dir: fastDir(t), clock: newTestClock(), states: map[string]event.State{}}
	o := open(t, w.dir, small(w.clock))
	add := func(from, to int) {
		for i := from; i < to; i += 20 {
			for j := i; j < i+20; j++ {
				mustAppend(t, o, padded(fmt.Sprint("W", j%70), fmt.Sprint("e", j), 1795000000+int64(j), 100+j%7*80))
			}
			syncAll(t, o)
			for k, r := range mustLease(t, o, 12) {
				settle(t, o, []event.State{event.Pushed, event.NotBound, event.Dead}[k%3], r)
			}
		}
	}
	add(0, 400)
	roll(t, o)
	add(400, 800)
	roll(t, o)
	add(800, 1000)
	for _, r := range all(t, o, Filter{}) {
		w.states[r.Event.EventID], w.last = r.State, r.ID.Seq
	}
	w.epoch = o.Counts().Epoch
	closeChecked(t, o)
	return w
}

// copyTo copies the outbox; clean: as a process leaves it that was stopped.
func (w *damagedWorld) copyTo(t *testing.T, dir string, clean bool) {
	t.Helper()
	files := contents(t, w.dir)
	if !clean {
		delete(files, filepath.Join(w.dir, stateName))
	}
	writeFiles(t, dir, files)
}

// check opens the damaged outbox and holds it to its promise: every event is
// there, or is named as lost; counts add up; it takes scans.
func (w *damagedWorld) check(t *testing.T, dir, what string) (lost int) {
	t.Helper()
	lost, _ = w.checkNamed(t, dir, what)
	return lost
}

// checkNamed also returns what the outbox says of the damage. It must say so
// where outcomes are gone, or take a new epoch, as after a lost transaction.
func (w *damagedWorld) checkNamed(t *testing.T, dir, what string) (lost int, named string) {
	t.Helper()
	kept := durable.Exists(filepath.Join(dir, checkpointName))
	o := openMended(t, dir, small(w.clock))
	seen, undone := map[string]bool{}, 0
	for _, r := range all(t, o, Filter{}) {
		want := w.states[r.Event.EventID]
		if _, ok := w.states[r.Event.EventID]; !ok || seen[r.Event.EventID] {
			t.Fatalf("%s: %s came from nowhere, or twice", what, r.Event.EventID)
		}
		if r.State != want && r.State.Finished() {
			t.Errorf("%s: %s is %s, was %s", what, r.Event.EventID, r.State, want)
		}
		if want.Finished() && !r.State.Finished() {
			undone++
		}
		seen[r.Event.EventID] = true
	}
	if kept && undone > 0 {
		t.Errorf("%s: %d events have lost their outcome, which the checkpoint knows", what, undone)
	}
	lost = len(w.states) - len(seen)
	c := o.Counts()
	if named = c.Damaged; undone > 0 && !strings.Contains(named, "outcomes") && c.Epoch == w.epoch {
		t.Errorf("%s: %d events have lost their outcome; damaged: %q", what, undone, named)
	}
	if c.Received != uint64(len(w.states)) {
		t.Errorf("%s: received %d of %d; damaged: %q", what, c.Received, len(w.states), c.Damaged)
	}
	checkSum(t, c)
	mustAppend(t, o, newEvent("W", "after", 1))
	if got := o.Counts().NextSeq; got <= w.last+1 {
		t.Errorf("%s: number %d was given again", what, got-1)
	}
	syncAll(t, o)
	pushAll(t, o)
	if c := o.Counts(); c.State[event.Unsynced]+c.State[event.ToPush] != 0 {
		t.Errorf("%s: %+v", what, c)
	}
	closeChecked(t, o)
	return lost, named
}

// Bit flips and zeroed pages over every segment, after a clean and an unclean
// stop: found, contained, reported. What bbolt would die of, it is never given.
func TestDamageIsContained(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	rnd := rand.New(rand.NewPCG(4, 4))
	lost, hits, alarms := 0, 0, 0
	for i := range storetest.Rounds(72, 12) {
		dir := fastDir(t)
		n := uint64(1 + i%3)
		w.copyTo(t, dir, i%2 == 0)
		path := filepath.Join(dir, format.Name(n))
		what := spoil(t, path, rnd, i)
		lost += w.check(t, dir, fmt.Sprintf("%d: segment %d, %s", i, n, what))
		hits++
		if aside, _ := filepath.Glob(filepath.Join(dir, "*"+durable.AsideSuffix+"*")); len(aside) > 0 {
			alarms++
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d images, %d with a segment rebuilt, %d events lost of %d", hits, alarms, lost, hits*len(w.states))
}

// A page that misleads bbolt's search for a note does not end a scan: all is
// given, whichever page of a sealed segment it is.
func TestScanReadsPastDamage(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	high := storetest.PagesOf(t, filepath.Join(w.dir, format.Name(2))).High
	for page := int64(2); page < high; page += int64(storetest.Rounds(1, 5)) {
		dir := fastDir(t)
		w.copyTo(t, dir, true)
		flip(t, filepath.Join(dir, format.Name(2)), page*boltpage.PageSize+77, 1)
		o := openMended(t, dir, small(w.clock))
		if n := len(all(t, o, Filter{})); n < len(w.states)-20 {
			t.Errorf("page %d: %d of %d given", page, n, len(w.states))
		}
		closeChecked(t, o)
	}
}

// spoil damages a file in the part that is in use.
func spoil(t *testing.T, path string, rnd *rand.Rand, i int) string {
	t.Helper()
	page := rnd.Int64N(storetest.PagesOf(t, path).High)
	switch i % 4 {
	case 0:
		overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
		return fmt.Sprintf("page %d zeroed", page)
	case 1:
		at := page*boltpage.PageSize + rnd.Int64N(boltpage.PageSize)
		flip(t, path, at, byte(1)<<rnd.IntN(8))
		return fmt.Sprintf("bit flipped at %d of page %d", at%boltpage.PageSize, page)
	case 2: // where it hurts: headers and element tables
		at := page*boltpage.PageSize + rnd.Int64N(200)
		flip(t, path, at, byte(1)<<rnd.IntN(8))
		return fmt.Sprintf("bit flipped at %d of page %d", at%boltpage.PageSize, page)
	}
	at := page*boltpage.PageSize + rnd.Int64N(8)*512
	junk := make([]byte, 512)
	for i := range junk {
		junk[i] = byte(rnd.Uint32())
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(junk, at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("sector at %d of page %d overwritten", at%boltpage.PageSize, page)
}

func flip(t *testing.T, path string, at int64, mask byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= mask
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// What our own reading of the pages accepts, bbolt must open and check without
// dying; it does so in a child process.
func TestPagesAgreeWithBolt(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	rnd := rand.New(rand.NewPCG(5, 5))
	dir := fastDir(t)
	good, err := os.ReadFile(filepath.Join(w.dir, format.Name(3)))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := crypt.Open(w.dir, true, false)
	if err != nil {
		t.Fatal(err)
	}
	var accepted []string // for bbolt's check
	refused, opened := 0, 0
	for i := range 120 {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		what := "nothing"
		if i > 0 {
			what = spoil(t, path, rnd, i)
		}
		r, err := repair.Inspect(path, keys.Cipher(3))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Problems) == 0 && r.Metas == 2 {
			t.Logf("%s: %s", path, what)
			accepted = append(accepted, path)
			continue
		}
		if refused++; len(r.Problems) == 0 { // bbolt's check complains of that page, opening does not
			db, err := boltpage.OpenDB(path, format.MinSize)
			if err == nil {
				err = db.Close()
			}
			if err != nil {
				t.Errorf("%d: %s: %v", i, what, err)
			}
			refused, opened = refused-1, opened+1
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := boltInChild(t, strings.Join(accepted, string(os.PathListSeparator))); err != nil {
		t.Errorf("accepted, but bbolt: %v\n%s", err, out)
	}
	t.Logf("%d refused, %d opened, %d checked", refused, opened, len(accepted))
	if refused == 0 || len(accepted) == 0 {
		t.Error("nothing was compared")
	}
}

// boltInChild has a child open and check files with bbolt; it says which one it
// died of.
func boltInChild(t *testing.T, paths string, env ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(append(os.Environ(), boltCheck+"="+paths), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A page of the newest segment that bbolt would die of, after an unclean stop.
func TestUncleanStartMendsTheNewest(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	for page := int64(2); page < 30; page += 3 {
		dir := fastDir(t)
		w.copyTo(t, dir, false)
		overwrite(t, filepath.Join(dir, format.Name(3)), page*boltpage.PageSize, boltpage.PageSize)
		w.check(t, dir, fmt.Sprint("page ", page))
	}
}

// A rebuild said which events are lost. That they become dead letters when their
// turn comes is no damage of which a restart could mend anything.
func TestLostEventsAreNoNewDamage(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	overwrite(t, filepath.Join(w.dir, format.Name(2)), 4*boltpage.PageSize, 10*boltpage.PageSize)
	o := open(t, w.dir, small(w.clock))
	before := o.Counts().Damaged
	syncAll(t, o)
	pushAll(t, o)
	if c := o.Counts(); c.Damaged != before || c.State[event.Dead] < 2 {
		t.Errorf("with %d dead letters damaged: %q, before: %q", c.State[event.Dead], c.Damaged, before)
	}
	closeChecked(t, o)
	o = open(t, w.dir, small(w.clock))
	if d := o.Counts().Damaged; d != before {
		t.Errorf("after a restart damaged: %q, before: %q", d, before)
	}
}

// The alarm stays until a person takes away what was set aside.
func TestAlarmEnds(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	overwrite(t, filepath.Join(w.dir, format.Name(2)), 4*boltpage.PageSize, 10*boltpage.PageSize)
	o := open(t, w.dir, small(w.clock))
	if d := o.Counts().Damaged; !strings.Contains(d, "segment 2 was damaged") || !strings.Contains(d, "lost: ") {
		t.Fatalf("damaged: %q", d)
	}
	closeChecked(t, o)
	o = open(t, w.dir, small(w.clock))
	if o.Counts().Damaged == "" {
		t.Error("the alarm ended by itself")
	}
	closeChecked(t, o)
	if err := os.Remove(filepath.Join(w.dir, format.Name(2)+durable.AsideSuffix)); err != nil {
		t.Fatal(err)
	}
	o = open(t, w.dir, small(w.clock))
	if d := o.Counts().Damaged; d != "" {
		t.Errorf("damaged: %q", d)
	}
}

// A segment in another one's place is damage: what it holds is not counted twice, and
// what should be there counts as lost, and is named.
func TestSegmentInAnothersPlace(t *testing.T) {
	dir := fastDir(t)
	o := open(t, dir, small(newTestClock()))
	for i := range 3 {
		fillSegment(t, o, 30+i)
		appendN(t, o, 4)
	}
	want, gone := o.Counts().Received, o.journal.Segments()[2]
	closeChecked(t, o)
	b, err := os.ReadFile(filepath.Join(dir, format.Name(1)))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, format.Name(3)), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, small(newTestClock()))
	c, sum := o.Counts(), uint64(0)
	for _, n := range c.State {
		sum += n
	}
	lost := fmt.Sprintf("%d lost: %d-%d", gone.Last+1-gone.First, gone.First, gone.Last)
	if c.Received != want || sum != want || !strings.Contains(c.Damaged, "segment 3 was damaged: nothing of it could be read") || !strings.Contains(c.Damaged, lost) {
		t.Errorf("received %d of %d, %d stand somewhere; damage %q", c.Received, want, sum, c.Damaged)
	}
	if err := o.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A sealed segment of which neither head nor beginning nor end can be read reaches from
// where the one before it ends to where the next one begins, also where that one is no better: what is gone is named, and counts.
func TestLostEndOfASealedSegment(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	for _, numbers := range [][]uint64{{1}, {2}, {1, 2}} {
		for _, kept := range []bool{true, false} {
			dir := fastDir(t)
			w.copyTo(t, dir, true)
			if !kept {
				if err := os.Remove(filepath.Join(dir, checkpointName)); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range numbers {
				path := filepath.Join(dir, format.Name(n))
				kinds := storetest.PagesOf(t, path).Kinds
				leaves := kinds["lower events leaf"]
				for _, page := range slices.Concat(leaves[:2], leaves[len(leaves)-3:], kinds["meta"], kinds["root leaf"], kinds["free"]) {
					overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
				}
			}
			r, err := OpenReadOnly(dir)
			if err != nil {
				t.Fatal(err)
			}
			if c := r.Counts(); c.Received != uint64(len(w.states)) {
				t.Errorf("%v: a reader counts %d of %d", numbers, c.Received, len(w.states))
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			o := open(t, dir, small(w.clock))
			if c := o.Counts(); c.Received != uint64(len(w.states)) || c.NextSeq != c.Received+1 {
				t.Errorf("%v: %d of %d count, %d comes next: %s", numbers, c.Received, len(w.states), c.NextSeq, c.Damaged)
			}
			closeChecked(t, o)
			for _, problem := range mustCheck(t, dir).Problems {
				if !strings.HasPrefix(problem, "damage: ") { // which a person takes away
					t.Errorf("%v: %s", numbers, problem)
				}
			}
		}
	}
}

// A segment is gone, or an older copy is in its place, which is whole: that is told
// until a person has seen it, and where its neighbours say which numbers are gone these
// count, and are named.
func TestSegmentsThatAreGone(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	older := fastDir(t)
	o := open(t, older, small(w.clock))
	for i := range 100 {
		mustAppend(t, o, newEvent(fmt.Sprint("W", i), fmt.Sprint("e", i), 1795000000))
	}
	old := contents(t, older)[filepath.Join(older, format.Name(1))]
	for i := range 200 {
		mustAppend(t, o, newEvent(fmt.Sprint("W", i), fmt.Sprint("f", i), 1795000000))
	}
	roll(t, o)
	begun, killed := contents(t, older)[filepath.Join(older, format.Name(2))], fastDir(t)
	for i := range 50 {
		mustAppend(t, o, newEvent(fmt.Sprint("W", i), fmt.Sprint("g", i), 1795000000))
	}
	writeFiles(t, killed, contents(t, older))
	closeChecked(t, o)
	for name, c := range map[string]struct {
		from   string
		spoil  func(dir string) error
		counts uint64 // received afterwards; 0: not all of it
		says   string
	}{
		"older copy":                  {older, func(dir string) error { return os.WriteFile(filepath.Join(dir, format.Name(1)), []byte(old), 0o600) }, 350, "200 lost: 101-300"},
		"middle":                      {w.dir, func(dir string) error { return os.Remove(filepath.Join(dir, format.Name(2))) }, uint64(len(w.states)), "400 lost: 401-800"},
		"oldest":                      {w.dir, func(dir string) error { return os.Remove(filepath.Join(dir, format.Name(1))) }, uint64(len(w.states)), "segment 1 is gone"},
		"newest after a stop":         {w.dir, func(dir string) error { return os.Remove(filepath.Join(dir, format.Name(3))) }, uint64(len(w.states)), "lost: 801-1000"},
		"newest after a kill":         {killed, func(dir string) error { return os.Remove(filepath.Join(dir, format.Name(2))) }, 0, "segment 2 is gone"},
		"older newest after a stop":   {older, func(dir string) error { return os.WriteFile(filepath.Join(dir, format.Name(2)), []byte(begun), 0o600) }, 350, "50 lost: 301-350"},
		"newest after a stop, no end": {w.dir, func(dir string) error { return os.Truncate(filepath.Join(dir, format.Name(3)), 0) }, uint64(len(w.states)), "lost: 801-1000"},
		"rebuilt before": {w.dir, func(dir string) error {
			overwrite(t, filepath.Join(dir, format.Name(1)), 0, boltpage.PageSize)
			closeChecked(t, open(t, dir, small(w.clock)))
			return os.Remove(filepath.Join(dir, format.Name(1)))
		}, uint64(len(w.states)), "segment 1 is gone"},
		"all": {w.dir, func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, format.Name(1))), os.Remove(filepath.Join(dir, format.Name(2))), os.Remove(filepath.Join(dir, format.Name(3))))
		}, 0, "all segments are gone"},
	} {
		dir := fastDir(t)
		files := map[string]string{}
		for path, content := range contents(t, c.from) {
			files[filepath.Join(w.dir, filepath.Base(path))] = content
		}
		writeFiles(t, dir, files)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if r, err := OpenReadOnly(dir); err == nil {
			if said := r.Counts().Damaged; !strings.Contains(said, c.says) {
				t.Errorf("%s: a reader says %q", name, said)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		} else if name != "all" {
			t.Errorf("%s: %v", name, err)
		}
		for range 2 {
			o, err := Open(dir, small(w.clock))
			if err != nil {
				t.Fatal(name, err)
			}
			got := o.Counts()
			if !strings.Contains(got.Damaged, c.says) || c.counts != 0 && (got.Received != c.counts || got.NextSeq != c.counts+1) {
				t.Errorf("%s: %d received, %d next, and it says %q", name, got.Received, got.NextSeq, got.Damaged)
			}
			closeChecked(t, o)
		}
		aside, err := filepath.Glob(filepath.Join(dir, "*"+durable.AsideSuffix+"*"))
		if err != nil || len(aside) == 0 {
			t.Errorf("%s: nothing keeps the alarm: %v", name, err)
		}
		for _, path := range aside {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
		o = open(t, dir, small(w.clock))
		if said := o.Counts().Damaged; said != "" {
			t.Errorf("%s: it was seen, and it says %q", name, said)
		}
	}
}

// What nobody can count is told for as long as the damaged file is there, also once the
// segment was damaged, and rebuilt, again.
func TestLaterDamageSilencesNothing(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	dir := fastDir(t)
	w.copyTo(t, dir, false)
	path := filepath.Join(dir, format.Name(3))
	if err := os.Remove(filepath.Join(dir, checkpointName)); err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, 0, 2*boltpage.PageSize)
	for range 3 {
		o, err := Open(dir, small(w.clock))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"later ones may be lost", "others that were carried may be lost", "outcomes may be lost; kept as " + format.Name(3)} {
			if told := o.Counts().Damaged; !strings.Contains(told, ", "+part) && !strings.Contains(told, ", and "+part) {
				t.Errorf("it says %q", told)
			}
		}
		closeChecked(t, o)
		overwrite(t, path, storetest.PagesOf(t, path).Kinds["lower events leaf"][1]*boltpage.PageSize, boltpage.PageSize)
	}
}

// A scan that meets events which cannot be read, and of which nobody knows, gives all
// others and says so, in a running outbox and of a stopped one; of what a rebuild named
// it says nothing more.
func TestScanTellsWhatItCannotRead(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	dir := fastDir(t)
	w.copyTo(t, dir, true)
	path := filepath.Join(dir, format.Name(1))
	leaves := storetest.PagesOf(t, path).Kinds["lower events leaf"]
	overwrite(t, path, leaves[len(leaves)/2]*boltpage.PageSize+200, 100) // within a record
	scan := func(o interface {
		Scan(context.Context, Filter, func(event.Record) error) error
	}) (n int, err error) {
		err = o.Scan(t.Context(), Filter{}, func(event.Record) error {
			n++
			return nil
		})
		return n, err
	}
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := scan(r); err == nil || n < len(w.states)-20 || n == len(w.states) {
		t.Errorf("a reader gives %d of %d and says %v", n, len(w.states), err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	o := open(t, dir, small(w.clock))
	n, err := scan(o)
	if err == nil || n < len(w.states)-20 || n == len(w.states) || !strings.Contains(o.Counts().Damaged, format.Name(1)) {
		t.Errorf("it gives %d of %d and says %v; status says %q", n, len(w.states), err, o.Counts().Damaged)
	}
	closeChecked(t, o)
	o = open(t, dir, small(w.clock))
	if again, err := scan(o); err != nil || again != n {
		t.Errorf("once it is rebuilt %d are given: %v", again, err)
	}
}
