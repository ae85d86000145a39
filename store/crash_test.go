package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
)

// crashDir names the outbox of the child process that is going to be killed.
const crashDir = "SCANRELAY_STORE_CRASH_DIR"

// crashLeases is how many events the child has leased at once.
const crashLeases = 4

// TestMain turns the test binary into the victim of TestKill where it is told to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if paths := os.Getenv(boltCheck); paths != "" {
		for _, path := range filepath.SplitList(paths) {
			fmt.Println(path)
			if err := checkWithBolt(path); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	for env, run := range map[string]func(string) error{powerDir: powerRun, retryDir: retryRun, retryUnmarked: retryRun} {
		if dir := os.Getenv(env); dir != "" {
			if err := run(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// victim appends, syncs and settles until it is killed, and says on standard
// output what it was promised: "A <event id>" acknowledged, "P <seq> <waybill>"
// about to be pushed, "S <seq>" settled.
func victim(dir string) error {
	// Every other life has hardly anything in memory.
	window := []int{crashLeases, 0}[os.Getpid()%2]
	o, err := Open(dir, Options{MaxSize: 64 << 20, segmentSize: format.MinSize, windowSize: window})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() { victimAppends(o, p) })
	}
	wg.Go(func() { victimSyncs(o) })
	victimPushes(o)
	wg.Wait()
	return errors.New("the victim ended by itself")
}

func victimAppends(o *Outbox, p int) {
	for i := 0; ; i++ {
		id := fmt.Sprintf("%d-%d-%d", os.Getpid(), p, i)
		e := padded(fmt.Sprint("W", rand.IntN(40)), id, time.Now().Unix(), 1000)
		e.ReceivedAt = time.Now()
		if _, err := o.Append(context.Background(), batch(e)); err == nil {
			fmt.Println("A", id)
		}
	}
}

func victimSyncs(o *Outbox) {
	for range o.Arrived() {
		records, err := o.Unsynced(50, 1<<20)
		if err != nil || len(records) == 0 {
			continue
		}
		var late []event.Settlement
		var waiting []uint64
		for _, r := range records {
			switch {
			case r.State.Finished():
			case r.ID.Seq%10 == 0:
				late = append(late, event.Settlement{Seq: r.ID.Seq, Outcome: event.Superseded})
			case r.ID.Seq%7 == 0:
				waiting = append(waiting, r.ID.Seq)
			}
		}
		if woken, err := o.Waiting(20, 0); err == nil {
			o.WakeEvents(seqsOf(woken)...)
		}
		if err := o.Synced(records[len(records)-1].ID.Seq, late, waiting); err == nil {
			for _, s := range late {
				fmt.Println("S", s.Seq)
			}
		}
		wait.Signal(o.arrived)
	}
}

func victimPushes(o *Outbox) {
	for range o.Pushable() {
		for {
			records, err := o.Lease(crashLeases, time.Minute)
			if err != nil || len(records) == 0 {
				break
			}
			for _, r := range records {
				fmt.Println("P", r.ID.Seq, r.Event.Waybill)
				if o.Settle(context.Background(), []event.Settlement{{Seq: r.ID.Seq, Outcome: event.Pushed}}) == nil {
					fmt.Println("S", r.ID.Seq)
				}
			}
		}
	}
}

// crashLedger is what the victims said, kept in the parent.
type crashLedger struct {
	acknowledged map[string]bool
	settled      map[uint64]bool
	pushes       map[uint64]int
	last         map[string]uint64 // last pushed number by waybill
	misordered   []string
}

// read takes what a victim says, and calls acknowledged after each event.
func (l *crashLedger) read(out io.Reader, acknowledged func()) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		var seq uint64
		if len(f) > 1 {
			_, _ = fmt.Sscan(f[1], &seq) // an id is no number
		}
		switch {
		case len(f) == 2 && f[0] == "A":
			l.acknowledged[f[1]] = true
			acknowledged()
		case len(f) == 2 && f[0] == "S":
			l.settled[seq] = true
		case len(f) == 3 && f[0] == "P":
			l.pushes[seq]++
			if seq < l.last[f[2]] {
				l.misordered = append(l.misordered, lines.Text())
			}
			l.last[f[2]] = seq
		}
	}
}

// Killed at any moment, everything acknowledged is there, what
// was settled stays settled, order per waybill holds, and only what was leased
// when a kill came is pushed again.
func TestKill(t *testing.T) {
	t.Parallel()
	const kills = 12
	dir, rnd := t.TempDir(), storetest.Rand(t)
	l := &crashLedger{acknowledged: map[string]bool{}, settled: map[uint64]bool{}, pushes: map[uint64]int{}, last: map[string]uint64{}}
	for range kills {
		killOne(t, dir, l, rnd)
	}
	o := open(t, dir, Options{MaxSize: 64 << 20, segmentSize: format.MinSize})
	c := o.Counts()
	if c.Received < uint64(len(l.acknowledged)) || len(l.acknowledged) == 0 {
		t.Errorf("%d acknowledged, %d received", len(l.acknowledged), c.Received)
	}
	finished := map[uint64]bool{}
	for _, r := range all(t, o, Filter{}) {
		delete(l.acknowledged, r.Event.EventID)
		finished[r.ID.Seq] = r.State.Finished()
	}
	if len(l.acknowledged) > 0 {
		t.Errorf("acknowledged and gone: %v", l.acknowledged)
	}
	for seq := range l.settled {
		if !finished[seq] {
			t.Errorf("%d was settled and is not", seq)
		}
	}
	twice := 0
	for _, n := range l.pushes {
		twice += n - 1
	}
	if twice > kills*crashLeases {
		t.Errorf("%d pushed twice in %d kills", twice, kills)
	}
	if len(l.misordered) > 0 {
		t.Errorf("out of order: %v", l.misordered)
	}
}

// killOne has a victim live until it has acknowledged some events, or for a
// moment, in which it may still be opening the outbox.
func killOne(t *testing.T, dir string, l *crashLedger, rnd *rand.Rand) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	}
	wait, events := 5*time.Minute, 20+rnd.IntN(100)
	if rnd.IntN(5) == 0 {
		wait, events = time.Duration(rnd.IntN(100))*time.Millisecond, 0
	}
	late := time.AfterFunc(wait, kill)
	defer late.Stop()
	seen := len(l.acknowledged)
	l.read(out, func() {
		if events > 0 && len(l.acknowledged) == seen+events {
			time.AfterFunc(time.Duration(rnd.IntN(5000))*time.Microsecond, kill)
		}
	})
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the victim was not killed: %v", err)
	}
	if events > 0 && len(l.acknowledged) < seen+events {
		t.Fatalf("%d events acknowledged in %v, not %d", len(l.acknowledged)-seen, wait, events)
	}
}
