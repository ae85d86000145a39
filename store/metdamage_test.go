package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"scanrelay/store/boltpage"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// Damage in a sealed segment whose events were not in memory at the start: the
// lease that meets it raises the alarm and goes on, and the next start mends
// what can be mended.
func TestDamageMetByALease(t *testing.T) {
	t.Parallel()
	const n = 3000
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, paged(clock, 16))
	fillMany(t, o, n)
	syncAll(t, o)
	closeChecked(t, o)
	overwrite(t, filepath.Join(dir, format.Name(2)), 40*boltpage.PageSize+32, 16) // where the second record stands

	o = open(t, dir, paged(clock, 16))
	if d := o.Counts().Damaged; d != "" {
		t.Fatalf("found at the start already: %s", d)
	}
	pushed := pushAll(t, o)
	c := o.Counts()
	dead := int(c.State[event.Dead])
	if dead == 0 || dead > 10 || pushed+dead != n {
		t.Fatalf("%d pushed, %d dead of %d", pushed, dead, n)
	}
	if want := format.Name(2) + " holds events that cannot be read"; !strings.Contains(c.Damaged, want) {
		t.Errorf("damaged: %q", c.Damaged)
	}
	closeChecked(t, o)

	o = open(t, dir, paged(clock, 16))
	if d := o.Counts().Damaged; !strings.Contains(d, "segment 2 was damaged") {
		t.Errorf("damaged: %q", d)
	}
	syncAll(t, o) // what can be read again was put back, and goes to the centre first
	again := pushAll(t, o)
	if c := o.Counts(); again == 0 || int(c.State[event.Pushed]) != pushed+again || int(c.State[event.Dead]) != dead-again {
		t.Errorf("%d pushed after the rebuild: %v", again, c.State)
	}
	closeChecked(t, o)
	o = open(t, dir, paged(clock, 16)) // it is mended, not rebuilt once more
	if d := o.Counts().Damaged; strings.Count(d, "was damaged") != 1 {
		t.Errorf("damaged: %q", d)
	}
}

// meetDamage has a segment looked at whole at the next start.
func meetDamage(t *testing.T, w *damagedWorld, segment int) {
	t.Helper()
	o := open(t, w.dir, small(w.clock))
	if _, err := o.journal.MetDamage([]uint64{o.journal.Segments()[segment].First}); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, o)
}

// Leases that meet damage at the same time each leave their note of it.
func TestDamageMetByManyLeases(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, paged(clock, 16))
	fillMany(t, o, 3000)
	segments := o.journal.Segments()
	if len(segments) < 3 {
		t.Fatalf("%d segments", len(segments))
	}
	var wg sync.WaitGroup
	for _, s := range segments {
		wg.Go(func() {
			if _, err := o.journal.MetDamage([]uint64{s.First}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	noted, err := os.ReadFile(filepath.Join(dir, stateName))
	for _, s := range segments {
		if err != nil || s.Last >= s.First && !strings.Contains(string(noted), filepath.Base(s.Path)) {
			t.Errorf("%s is not in %q: %v", s.Path, noted, err)
		}
	}
	if what, err := o.journal.MetDamage([]uint64{segments[0].First}); what != "" || err != nil {
		t.Errorf("a second time: %q, %v", what, err)
	}
}
