package store

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/quarantine"
)

// heal understands payloads of words: one that begins with YT is an event, "-"
// is no read, anything else is rejected.
func heal(c *testClock) func(Quarantined) (scan.Batch, bool) {
	return func(q Quarantined) (b scan.Batch, ok bool) {
		for _, word := range strings.Fields(string(q.Payload)) {
			switch {
			case strings.HasPrefix(word, "YT"):
				b.Events = append(b.Events, scan.Event{
					EventID: "e", Waybill: scan.WaybillID(word), ActionType: scan.ActionTransport, ActionMsg: "x",
					ActionTime: c.Now().Unix(), ReceivedAt: c.Now(),
				})
			case word == "-":
				b.Ignored++
			default:
				b.Rejects = append(b.Rejects, reject(word))
			}
		}
		return b, string(q.Payload) != "foreign"
	}
}

func reject(payload string) scan.Reject {
	return scan.Reject{Topic: "t", Payload: []byte(payload), Index: -1, Code: "c", Reason: "r"}
}

func quarantinedTexts(t *testing.T, o *Outbox) (list []string) {
	t.Helper()
	err := o.Quarantine(context.Background(), func(q Quarantined) error {
		list = append(list, string(q.Payload))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func quarantineAll(t *testing.T, o *Outbox, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if _, err := o.Append(context.Background(), scan.Batch{Rejects: []scan.Reject{reject(p)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplay(t *testing.T) {
	c := newTestClock()
	dir := t.TempDir()
	o := open(t, dir, small(c))
	quarantineAll(t, o, "YT1 YT2", "bad", "-", "YT3 bad1 bad2", "YT1", "foreign", "- bad3")
	got, err := o.Replay(t.Context(), heal(c))
	want := Replayed{Entries: 7, Left: 3, Events: 3, Duplicate: 1, Ignored: 1, Remaining: 4}
	if err != nil || got != want {
		t.Fatalf("replayed %+v, %v; want %+v", got, err, want)
	}
	left := []string{"bad", "bad1", "foreign", "- bad3", "bad2"}
	if list := quarantinedTexts(t, o); !slices.Equal(list, left) {
		t.Errorf("quarantine holds %q, want %q", list, left)
	}
	counts := o.Counts()
	if counts.Received != 3 || counts.Duplicate != 1 || counts.Ignored != 1 || counts.Quarantined != 5 || counts.Forgotten != 0 {
		t.Errorf("counts %+v", counts)
	}
	// A second time there is nothing new.
	if got, err = o.Replay(t.Context(), heal(c)); err != nil || got != (Replayed{Entries: 5, Remaining: 5}) {
		t.Errorf("again %+v, %v", got, err)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	if list := quarantinedTexts(t, o); !slices.Equal(list, left) || o.Counts().Received != 3 {
		t.Errorf("after a restart %q", list)
	}
}

// A crash between the two commits leaves the entry: what is stored from it the
// next time is a duplicate.
func TestReplayAfterAFailedMove(t *testing.T) {
	c := newTestClock()
	opts := small(c)
	broken := false
	opts.commit = func(tx *bolt.Tx) error {
		if broken && strings.HasSuffix(tx.DB().Path(), quarantine.FileName) {
			return &fs.PathError{Op: "write", Err: syscall.ENOSPC}
		}
		return tx.Commit()
	}
	o := open(t, t.TempDir(), opts)
	quarantineAll(t, o, "YT1 YT2")
	broken = true
	if _, err := o.Replay(t.Context(), heal(c)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("replay over a broken quarantine: %v", err)
	}
	if counts := o.Counts(); counts.Received != 2 || counts.Quarantined != 1 {
		t.Errorf("counts %+v", counts)
	}
	broken = false
	if got, err := o.Replay(t.Context(), heal(c)); err != nil || got != (Replayed{Entries: 1, Left: 1, Duplicate: 2}) {
		t.Errorf("replayed %+v, %v", got, err)
	}
	if counts := o.Counts(); counts.Received != 2 || counts.Quarantined != 0 {
		t.Errorf("counts %+v", counts)
	}
}

// A full outbox takes nothing out of the quarantine, and an ended ctx stops.
func TestReplayStops(t *testing.T) {
	c := newTestClock()
	o := open(t, t.TempDir(), small(c))
	quarantineAll(t, o, "YT1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := o.Replay(ctx, heal(c)); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	closeChecked(t, o)
	if _, err := o.Replay(context.Background(), heal(c)); err == nil {
		t.Error("a closed outbox was replayed")
	}
}

// More than fits into one part or one commit.
func TestReplayMany(t *testing.T) {
	c := newTestClock()
	opts := small(c)
	opts.QuarantineSize, opts.QuarantineCount = 32<<20, 10000
	o := open(t, fastDir(t), opts)
	var b scan.Batch
	for i := range 3000 {
		word := "YT" + strings.Repeat("0", i%7) + string(rune('A'+i%26)) + strings.Repeat("x", i/26)
		b.Rejects = append(b.Rejects, reject(word))
	}
	if _, err := o.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	got, err := o.Replay(t.Context(), heal(c))
	if err != nil || got.Left != 3000 || got.Events+got.Duplicate != 3000 || o.Counts().Quarantined != 0 {
		t.Errorf("replayed %+v, %v", got, err)
	}
}

// What came before the clock was known is replayed under the time that it came at, over
// a restart, too; what boot it was of nobody can tell keeps what it has.
func TestReplayUnderTheRightTime(t *testing.T) {
	dir, told := t.TempDir(), time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	zero := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	o := open(t, dir, Options{})
	for _, boot := range []string{"boot-1", "boot-0"} {
		r := reject("x")
		r.ReceivedAt, r.Clockless = told, &scan.BootTime{Boot: boot, Since: time.Hour}
		if _, err := o.Append(t.Context(), scan.Batch{Rejects: []scan.Reject{r}}); err != nil {
			t.Fatal(err)
		}
	}
	times := func() (list []time.Time) {
		_, err := o.Replay(t.Context(), func(q Quarantined) (scan.Batch, bool) {
			list = append(list, q.ReceivedAt)
			return scan.Batch{}, false
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := times(); !slices.Equal(got, []time.Time{told, told}) {
		t.Errorf("before the clock is known: %v", got)
	}
	if err := o.ResolveClock("boot-1", zero, false); err != nil {
		t.Fatal(err)
	}
	want := []time.Time{zero.Add(time.Hour), told}
	if got := times(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	closeChecked(t, o)
	o = open(t, dir, Options{})
	if got := times(); !slices.Equal(got, want) {
		t.Errorf("after a restart: %v, want %v", got, want)
	}
}
