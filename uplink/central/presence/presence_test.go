package presence_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/health"
)

// TestWatch: who falls silent is named once, who was never heard of is not.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := presence.New([]scan.DepotID{"a", "never"}, nil, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Watch(ctx, slog.New(slog.NewTextHandler(&log, nil))) }()
		for range 3 {
			if err := p.Heard(ctx, "a", &syncapi.Request{Agent: strings.Repeat("v", 50), Epoch: "e"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
		}
		m, err := p.Members(ctx)
		if err != nil || m["a"].Away || !m["never"].Away || len(m["a"].Version) != 40 {
			t.Errorf("members %+v, %v", m, err)
		}
		time.Sleep(time.Hour)
		cancel()
		<-done
		if n := strings.Count(log.String(), "fallen silent"); n != 1 || !strings.Contains(log.String(), "depot=a") {
			t.Errorf("named %d times: %s", n, log.String())
		}
	})
}

// TestLongVersions: what depots say of themselves takes no more memory than what is
// kept of it.
func TestLongVersions(t *testing.T) {
	p := presence.New(nil, nil, time.Now)
	inUse := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	long := func() string { return strings.Repeat("v", 1<<18) }
	before := inUse()
	for i := range 64 {
		if err := p.Heard(t.Context(), scan.DepotID(fmt.Sprint("hz-", i)), &syncapi.Request{
			Agent: long(), OSArch: long(), Health: &health.Report{Clock: long(), WeChat: long(), Alarms: []string{long(), long()}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if grown := inUse() - before; grown > 8<<20 {
		t.Errorf("64 depots take %d bytes", grown)
	}
	runtime.KeepAlive(p)
}

// TestAlarmsHaveABeginning: an alarm stands since the first sync of those in a row
// that raise it, and what is beyond the bounds is cut.
func TestAlarmsHaveABeginning(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := presence.New(nil, nil, func() time.Time { return now })
	raise := func(kinds ...string) (got []presence.Alarm) {
		now = now.Add(5 * time.Second)
		said := &syncapi.Request{Health: &health.Report{Alarms: kinds}, Update: &directive.UpdateState{State: "idle"}, Config: &directive.ConfigState{Name: "n"}}
		if err := p.Heard(t.Context(), "a", said); err != nil {
			t.Fatal(err)
		}
		m, err := p.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return m["a"].Alarms
	}
	first := raise("x", "y")[0].Since
	if got := raise("x"); len(got) != 1 || got[0] != (presence.Alarm{Kind: "x", Since: first}) {
		t.Errorf("%v", got)
	}
	raise()
	if got := raise("x"); got[0].Since != now {
		t.Errorf("%v", got)
	}
	for version, want := range map[string]bool{"": true, "of before": false} {
		if err := p.Heard(t.Context(), "a", &syncapi.Request{Agent: version}); err != nil {
			t.Fatal(err)
		}
		if m, err := p.Members(t.Context()); err != nil || (m["a"].Health != nil) != want || (m["a"].Update != nil) != want || (m["a"].Config != nil) != want {
			t.Errorf("version %q says nothing of itself: %+v, %v", version, m["a"], err)
		}
		raise("x")
	}
	if got := raise(make([]string, 1000)...); len(got) != health.MaxAlarms {
		t.Errorf("%d alarms", len(got))
	}
}

// A version that is none tells nothing of anybody.
func TestVersionsAreASCII(t *testing.T) {
	p := presence.New([]scan.DepotID{"a"}, nil, time.Now)
	for text, want := range map[string]string{"v1.2.3-4-gabcdef linux/arm": "v1.2.3-4-gabcdef linux/arm", "李四\n\xff1": "????1"} {
		if err := p.Heard(t.Context(), "a", &syncapi.Request{Agent: text, Epoch: "e"}); err != nil {
			t.Fatal(err)
		}
		if m, err := p.Members(t.Context()); err != nil || m["a"].Version != want {
			t.Errorf("%q is kept as %q, want %q, %v", text, m["a"].Version, want, err)
		}
	}
}

// A depot that takes a new epoch again and again is remembered with a bounded number of
// them: who is forgotten makes nobody wait, and the newest is known.
func TestEpochsAreBounded(t *testing.T) {
	var f presence.Finished
	const bound = 16
	for epoch := uint64(1); epoch <= 10*bound; epoch++ {
		f.Heard("a", epoch, 5)
		if !f.Has("a", epoch, 4) {
			t.Fatalf("the newest epoch, %d, is not known", epoch)
		}
		if known := known(&f, epoch); epoch <= bound && known != int(epoch) || known > bound {
			t.Fatalf("%d of %d epochs are known", known, epoch)
		}
	}
	before := known(&f, 10*bound)
	f.Heard("a", 10*bound, 9)
	if f.Has("a", 10*bound, 9) || !f.Has("a", 10*bound, 8) || known(&f, 10*bound) != before {
		t.Error("one that is known takes room anew")
	}
}

// known is how many epochs up to one are known of depot a.
func known(f *presence.Finished, upTo uint64) (n int) {
	for epoch := uint64(1); epoch <= upTo; epoch++ {
		if f.Has("a", epoch, 0) {
			n++
		}
	}
	return n
}
