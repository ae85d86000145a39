package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"scanrelay/build/rig"
	"scanrelay/wechat/fake"
)

// concurrency is notify.concurrency's default: a kill can repeat as many pushes.
const concurrency = 8

// TestAgentKilled kills the agent ten times at random moments while scans flow
// and pushes are under way. With mosquitto the ledger is what mosquitto took;
// with the embedded broker what we acknowledged.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		embedded        bool
		events, perNode int
	}{
		{"10,000 events over mosquitto", false, 10_000, 4},
		{"5,000 events into the embedded broker", true, 5_000, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const kills = 10
			seed := rig.Seed(t)
			site := newSite(t, rig.Options{Binary: plainBinary, Embedded: c.embedded})
			// The push is made, and its answer takes a moment: that is when a
			// kill costs a double push.
			if err := site.WeChat.Fail(fake.Fault{API: fake.PathNotify, After: true, Delay: 8 * time.Millisecond}); err != nil {
				t.Fatal(err)
			}
			site.Start()
			parcels := rig.Traffic(rig.Chance(seed, "parcels"), "YT", c.events/c.perNode)
			site.Import(parcels)
			killWhileFlowing(t, site, rig.Scans(parcels, c.perNode, "line-1"), kills, rig.Chance(seed, "kills"))
			site.Drain()
			site.Audit(rig.Allow{PerKill: concurrency})
		})
	}
}

// killWhileFlowing publishes the scans in parts faster than they can be pushed,
// and kills the agent once in each, at a random moment. Every other time the
// agent has caught up before; otherwise it is killed in its recovery.
func killWhileFlowing(t *testing.T, site *rig.Site, scans []rig.Scan, kills int, chance *rand.Rand) {
	t.Helper()
	scanner := site.Scanner("line-1")
	scanner.Rate = 900
	part := len(scans)/kills + 1
	caughtUp := false
	for scans := range slices.Chunk(scans, part) {
		if caughtUp = !caughtUp; caughtUp {
			site.Drain()
		}
		before := site.Ledger.Len()
		wait := background(t, scanner, scans)
		awaitAcked(t, site, before+int((0.1+0.7*chance.Float64())*float64(len(scans))))
		site.KillAgent()
		wait()
	}
}

// TestCentralKilled kills central at random moments while scans flow: what it
// answered is on its disk, and nothing is pushed that it does not have.
func TestCentralKilled(t *testing.T) {
	t.Parallel()
	const events, kills = 3_000, 5
	site, chance, wait := flowing(t, rig.Options{Binary: plainBinary, Embedded: true}, events)
	for i := range kills {
		awaitAcked(t, site, moment(i, kills, events, chance))
		site.Central.Kill()
		site.StartCentral()
	}
	wait()
	site.Drain()
	site.Audit(rig.Allow{Unreachable: true})
}

// flowing starts a site to which a scanner publishes so many scans, three of each
// parcel.
func flowing(t *testing.T, o rig.Options, events int) (site *rig.Site, chance *rand.Rand, wait func()) {
	t.Helper()
	seed := rig.Seed(t)
	site = newSite(t, o)
	site.Start()
	parcels := rig.Traffic(rig.Chance(seed, "parcels"), "YT", events/3)
	site.Import(parcels)
	scanner := site.Scanner("line-1")
	scanner.Rate = 400
	return site, rig.Chance(seed, "kills"), background(t, scanner, rig.Scans(parcels, 3, "line-1"))
}

// moment is how many of the events have come at the i-th of some kills, at random.
func moment(i, kills, events int, chance *rand.Rand) int {
	return int((float64(i) + chance.Float64()) / float64(kills+1) * float64(events))
}
