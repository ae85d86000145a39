package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/quarantine"
	"scanrelay/store/repair"
)

// boltFlips names a file with a line for each bit that the child process is to
// flip for one opening: its place, its mask, and whether bbolt's own check has
// to find nothing either.
const boltFlips = "SCANRELAY_STORE_BOLT_FLIPS"

// newDeepWorld has pages of every kind in its newest segment: branches over
// branches, records over several pages, carried events, free pages.
func newDeepWorld(t *testing.T) *damagedWorld {
	t.Helper()
	return oneDeepWorld.copy(t, makeDeepWorld)
}

func makeDeepWorld(t *testing.T) *damagedWorld {
	w := &damagedWorld{dir: fastDir(t), clock: newTestClock(), states: map[string]event.State{}}
	opts := small(w.clock)
	opts.segmentSize = 2 * format.MinSize
	o := open(t, w.dir, opts)
	add := func(count, size int) {
		b := batch()
		for range count {
			n := o.Counts().NextSeq + uint64(len(b.Events))
			b.Events = append(b.Events, padded(fmt.Sprint("W", n), fmt.Sprint("e", n), 1795000000+int64(n), size))
		}
		mustAppend(t, o, b.Events...)
		syncAll(t, o)
	}
	add(40, 100)
	settle(t, o, event.Dead, mustLease(t, o, 40)...)
	w.clock.advance(200 * time.Hour)
	roll(t, o)
	o.retire()
	for i := range 40 {
		add(19, 1000)
		if i%8 == 0 {
			add(1, 3*boltpage.PageSize)
		}
		settle(t, o, []event.State{event.Pushed, event.NotBound}[i%2], mustLease(t, o, 9)...)
	}
	for _, r := range all(t, o, Filter{}) {
		w.states[r.Event.EventID], w.last = r.State, r.ID.Seq
	}
	w.epoch = o.Counts().Epoch
	closeChecked(t, o)
	return w
}

// pageKinds lists a file's pages by what they are.
func pageKinds(t *testing.T, path string) map[string][]int64 {
	t.Helper()
	kinds := storetest.PagesOf(t, path).Kinds
	for _, want := range []string{"root leaf", "events branch", "lower events branch", "lower events leaf", "lower events overflow", "notes branch", "lower notes leaf", "carried branch", "free"} {
		if len(kinds[want]) == 0 {
			t.Fatalf("no page is a %s: %v", want, kinds)
		}
	}
	return kinds
}

// After a clean stop, too, bbolt is never given a page it would die of: opening
// in this process would take the test along. What is lost is named, or else
// Check finds it.
func TestBadPageAfterCleanStop(t *testing.T) {
	t.Parallel()
	w := newDeepWorld(t)
	good := filepath.Join(w.dir, format.Name(2))
	rnd := storetest.Rand(t)
	runs, rebuilt, lost, each := 0, 0, 0, storetest.Rounds(5, 2)
	kinds := pageKinds(t, good)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		pages := kinds[kind]
		ways := pageDamage(rnd)
		names := slices.Sorted(maps.Keys(ways))
		rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names[:each] {
			spoil := ways[name]
			dir := fastDir(t)
			w.copyTo(t, dir, true)
			page := pages[rnd.IntN(len(pages))]
			what := fmt.Sprintf("%s page %d, %s", kind, page, name)
			spoil(t, filepath.Join(dir, format.Name(2)), page)
			allGood := mustCheck(t, dir).Good()
			gone, named := w.checkNamed(t, dir, what)
			if gone > 0 && named == "" && allGood {
				t.Errorf("%s: %d events are gone, and nobody says so", what, gone)
			}
			runs++
			lost += gone
			if named != "" {
				rebuilt++
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d images, %d rebuilt, %d events lost of %d each", runs, rebuilt, lost, len(w.states))
}

// pageDamage are the ways in which a page is damaged.
func pageDamage(rnd *rand.Rand) map[string]func(t *testing.T, path string, page int64) {
	bit := func(at, n int64) func(*testing.T, string, int64) {
		return func(t *testing.T, path string, page int64) {
			flip(t, path, page*boltpage.PageSize+at+rnd.Int64N(n), byte(1)<<rnd.IntN(8))
		}
	}
	sector := func(at int64) func(*testing.T, string, int64) {
		return func(t *testing.T, path string, page int64) {
			for i := range int64(512) {
				flip(t, path, page*boltpage.PageSize+at+i, byte(rnd.Uint32())|1)
			}
		}
	}
	return map[string]func(*testing.T, string, int64){
		"zeroed": func(t *testing.T, path string, page int64) {
			overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
		},
		"first sector zeroed": func(t *testing.T, path string, page int64) { overwrite(t, path, page*boltpage.PageSize, 512) },
		"last sector zeroed": func(t *testing.T, path string, page int64) {
			overwrite(t, path, page*boltpage.PageSize+boltpage.PageSize-512, 512)
		},
		"a bit of its number":          bit(0, 8),
		"a bit of its kind":            bit(8, 2),
		"a bit of its count":           bit(10, 2),
		"a bit of its overflow":        bit(12, 4),
		"a bit of an element":          bit(16, 2*16),
		"a bit anywhere":               bit(0, boltpage.PageSize),
		"the first sector overwritten": sector(0),
		"a sector inside overwritten":  sector(1024),
		"the last sector overwritten":  sector(boltpage.PageSize - 512),
		"the wrong page in its place":  movePage(2),
		"the page of before":           movePage(-1),
		"the first eight sectors, less": func(t *testing.T, path string, page int64) {
			overwrite(t, path, page*boltpage.PageSize+512, boltpage.PageSize-512)
		},
	}
}

// movePage puts another page in a page's place, as a misdirected write does.
func movePage(by int64) func(*testing.T, string, int64) {
	return func(t *testing.T, path string, page int64) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, boltpage.PageSize)
		_, err = f.ReadAt(b, max(page+by, 0)*boltpage.PageSize)
		if err == nil {
			_, err = f.WriteAt(b, page*boltpage.PageSize)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Every bit of the header and the first element of a page of every kind: what a
// start accepts, bbolt opens for writing without dying, and but for the meta
// pages its own check finds nothing wrong.
func TestAcceptedPagesAgreeWithBolt(t *testing.T) {
	t.Parallel()
	w := newDeepWorld(t)
	dir := fastDir(t)
	w.copyTo(t, dir, true)
	path := filepath.Join(dir, format.Name(2))
	st := stateOf(t, path)
	check := func() error { return repair.CheckOutline(path, st.first, st.nextSeq) }
	if err := check(); err != nil {
		t.Fatal(err)
	}
	var accepted strings.Builder
	n, tried := 0, 0
	for kind, pages := range pageKinds(t, path) {
		page := pages[len(pages)/2]
		for i := int64(0); i < 8*(16+16); i += int64(storetest.Rounds(1, 3)) {
			place, mask := page*boltpage.PageSize+i/8, byte(1)<<(i%8)
			tried++
			flip(t, path, place, mask)
			err := check()
			flip(t, path, place, mask)
			if err == nil {
				n++
				fmt.Fprintln(&accepted, place, mask, kind != "meta")
			} else if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s page %d, bit %d: %v", kind, page, i, err)
			}
		}
	}
	list := filepath.Join(dir, "flips")
	if err := os.WriteFile(list, []byte(accepted.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := boltInChild(t, path, boltFlips+"="+list); err != nil {
		t.Errorf("accepted, but bbolt: %v\n%s", err, out)
	}
	t.Logf("%d flips, %d accepted", tried, n)
	if n == 0 || n == tried {
		t.Error("nothing was compared")
	}
}

type firstAndNext struct{ first, nextSeq uint64 }

// stateOf reads where a segment begins and which number is next.
func stateOf(t *testing.T, path string) (f firstAndNext) {
	t.Helper()
	tree, err := boltpage.OpenTree(path)
	if err != nil {
		t.Fatal(err)
	}
	err = tree.View(func(tx boltpage.Reader) error {
		m, err := codec.DecodeFileMeta(boltpage.Value(tx, codec.MetaBucket, codec.MetaKey))
		if err != nil {
			return err
		}
		st, err := format.LoadState(tx.Bucket(format.BucketState))
		if err == nil {
			f = firstAndNext{m.First, st.NextSeq}
		}
		return err
	})
	if err := errors.Join(err, tree.Close()); err != nil {
		t.Fatal(err)
	}
	return f
}

// flipWithBolt opens a file once for each line of the list, with that bit
// flipped; the last line on standard output is the one that killed it.
func flipWithBolt(path, list string) error {
	lines, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for line := range strings.Lines(string(lines)) {
		var at int64
		var mask byte
		var whole bool
		if _, err := fmt.Sscan(line, &at, &mask, &whole); err != nil {
			return err
		}
		fmt.Print(line)
		if err := flipOnce(f, at, mask, func() error { return openFlipped(path, whole) }); err != nil {
			return fmt.Errorf("bit %d at %d: %w", mask, at, err)
		}
	}
	return nil
}

func flipOnce(f *os.File, at int64, mask byte, fn func() error) error {
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte{b[0] ^ mask}, at); err != nil {
		return err
	}
	err := fn()
	_, back := f.WriteAt(b, at)
	return errors.Join(err, back)
}

func openFlipped(path string, whole bool) error {
	db, err := bolt.Open(path, 0o600, boltpage.Options(2*format.MinSize))
	if err != nil {
		return err
	}
	err = db.View(func(tx *bolt.Tx) error {
		var all error
		for err := range tx.Check() {
			if whole {
				all = errors.Join(all, err)
			}
		}
		return all
	})
	return errors.Join(err, db.Close())
}

// A bad page in the quarantine, which bbolt would die of as well: it is set
// aside, named, and a new one is begun.
func TestBadQuarantineIsSetAside(t *testing.T) {
	t.Parallel()
	w := &damagedWorld{dir: t.TempDir(), clock: newTestClock()}
	o := open(t, w.dir, small(w.clock))
	b := batch(newEvent("W", "e", 1))
	for i := range 40 {
		b.Rejects = append(b.Rejects, scan.Reject{Topic: "t", Payload: make([]byte, 100+i%9*700), Index: -1})
	}
	if _, err := o.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, o)
	pages := storetest.PagesOf(t, filepath.Join(w.dir, quarantine.FileName))
	for page := range pages.High {
		if page < 2 || slices.Contains(pages.Kinds["free"], page) {
			continue
		}
		dir := fastDir(t)
		w.copyTo(t, dir, true)
		overwrite(t, filepath.Join(dir, quarantine.FileName), page*boltpage.PageSize, boltpage.PageSize)
		o := open(t, dir, small(w.clock))
		whole := 0
		err := o.Quarantine(context.Background(), func(q Quarantined) error {
			if q.Code != "damaged" {
				whole++
			}
			return nil
		})
		if err != nil || whole < 40 && o.Counts().Damaged == "" && mustCheckGood(t, w, page) {
			t.Errorf("page %d: %d of 40 entries, damaged: %q, %v", page, whole, o.Counts().Damaged, err)
		}
		if _, err := o.Append(context.Background(), scan.Batch{Rejects: b.Rejects[:1]}); err != nil {
			t.Errorf("page %d: %v", page, err)
		}
		closeChecked(t, o)
	}
}

// mustCheckGood reports whether Check finds nothing wrong with a quarantine of
// which a page was zeroed.
func mustCheckGood(t *testing.T, w *damagedWorld, page int64) bool {
	t.Helper()
	dir := fastDir(t)
	w.copyTo(t, dir, true)
	overwrite(t, filepath.Join(dir, quarantine.FileName), page*boltpage.PageSize, boltpage.PageSize)
	return mustCheck(t, dir).Good()
}
