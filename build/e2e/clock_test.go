package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestAClockThatNobodyConfirmed has scans come while neither central nor the kernel
// has confirmed the gateway's clock: they wait, and have their times once it has.
func TestAClockThatNobodyConfirmed(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	want := "unknown"
	if state, err := syscall.Adjtimex(&syscall.Timex{}); err == nil && state != timeError {
		want = "ok" // an NTP client keeps this machine's right
	}
	site.StartAgent()
	parcels := rig.Traffic(rig.Chance(12, "clock"), "YT", 20)
	before := time.Now()
	publish(t, site.Scanner("line-1"), rig.Scans(parcels, 3, "line-1"))
	after := time.Now()
	if st, err := site.Status(); err != nil || st.Clock != want || st.Pending.Unsynced != 60 {
		t.Errorf("the clock is %s, want %s; %d wait (%v)", st.Clock, want, st.Pending.Unsynced, err)
	}
	site.Agent.Kill() // the boot goes on, the process does not
	site.StartCentral()
	site.Import(parcels)
	site.StartAgent()
	site.Drain()
	site.Audit(rig.Allow{})
	site.AwaitStatus("the clock to be believed", func(st rig.Status) bool { return st.Clock == "ok" })
	cameWithin(t, site, before, after)
}

// cameWithin holds that all events have come between two moments.
func cameWithin(t *testing.T, site *rig.Site, before, after time.Time) {
	t.Helper()
	out, stderr, code := site.Run("events", "--json", "-c", site.AgentFile)
	if code != 0 {
		t.Fatal(stderr)
	}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var line struct {
			ReceivedAt time.Time `json:"received_at"`
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if at := line.ReceivedAt; at.Before(before.Add(-time.Second)) || at.After(after.Add(time.Second)) {
			t.Errorf("an event of %v to %v came at %v", before, after, at)
		}
	}
}

// timeError is what adjtimex returns while nobody keeps the clock right.
const timeError = 5
