package demo

import (
	"fmt"
	"hash/fnv"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/health"
)

// gateway is a simulated one. Of a release it does what an agent does and says so with its
// syncs, but downloads nothing and starts no program.
type gateway struct {
	id     scan.DepotID
	site   string
	client *syncapi.Client

	asleep time.Time // until then it is offline
	held   bool      // a shift is on: no trial begins
	ill    bool      // the release crashes there

	version string // that runs
	update  directive.UpdateState
	next    time.Time // when what is under way has come to its end
	crash   time.Time // when Version ends for good; zero: it does not
}

// Versions of the demo: what runs everywhere, and the release.
const (
	versionBefore = "1.4.0"
	versionNext   = "1.5.0"
)

// How long a gateway takes, by its own line and luck: between half of it and all.
const (
	downloads = 3 * time.Minute
	tries     = 2 * time.Minute
	crashes   = 6 * time.Minute // after it was committed
)

func newGateway(n int, begin time.Time, bad bool) *gateway {
	g := &gateway{id: scan.DepotID(fmt.Sprintf("gw-%04d", n+1)), version: versionBefore}
	if g.site = fmt.Sprintf("site-%03d", n/3); n%3 == 0 { // two of a site, and one alone
		g.site = ""
	}
	if n%25 == 7 {
		g.asleep = begin.Add(20 * time.Minute)
	}
	g.held = n%40 == 11
	g.ill = bad && g.dice("ill")%3 == 0
	g.say("idle", "", "", "")
	return g
}

// dice is a number by chance that is the same in each run.
func (g *gateway) dice(what string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(what + string(g.id)))
	return h.Sum32() >> 8
}

func (g *gateway) takes(what string, most time.Duration) time.Duration {
	return most/2 + most/2*time.Duration(g.dice(what)%100)/100
}

func (g *gateway) say(state, target, verdict, reason string) {
	if g.held && (state == "idle" || state == "staged") {
		state = "held"
	}
	g.update = directive.UpdateState{Version: g.version, State: state, Target: target, Verdict: verdict, Reason: reason}
}

// live is what happens to it until now.
func (g *gateway) live(now time.Time) {
	switch due := !now.Before(g.next); {
	case !g.crash.IsZero() && !now.Before(g.crash):
		g.version, g.crash = versionBefore, time.Time{}
		g.say("rolled_back", versionNext, "bad", "it ended three times within an hour")
	case g.update.State == "downloading" && due:
		g.say("staged", versionNext, "", "")
	case g.update.State == "trial" && due:
		g.version = versionNext
		if g.say("committed", versionNext, "committed", ""); g.ill {
			g.crash = now.Add(g.takes("crash", crashes))
		}
	}
}

// request is its sync.
func (g *gateway) request() *syncapi.Request {
	update := g.update
	return &syncapi.Request{
		V: syncapi.Version, Agent: g.version, OSArch: "linux/arm", Epoch: fmt.Sprintf("%016x", 1+g.dice("epoch")),
		Health: &health.Report{Clock: "ok", WeChat: syncapi.StateOK}, Update: &update,
	}
}

// hear takes what the centre wants of it.
func (g *gateway) hear(d *directive.Directives, now time.Time) {
	if d == nil || d.Update == nil {
		if g.update.State == "downloading" {
			g.say("idle", "", "", "")
		}
		return
	}
	switch u := d.Update; {
	case u.Back && g.version != u.Version:
		g.version, g.crash = u.Version, time.Time{}
		g.say("committed", u.Version, "", "")
	case u.Back || u.Version == g.version || g.update.Verdict == "bad" || g.held:
	case g.update.State == "idle":
		g.say("downloading", u.Version, "", "")
		g.next = now.Add(g.takes("download", downloads))
	case g.update.State == "staged" && !d.Hold:
		g.say("trial", u.Version, "testing", "")
		g.next = now.Add(g.takes("trial", tries))
	}
}

// changes reports whether its version may be another in a moment.
func (g *gateway) changes() bool { return g.update.State == "trial" }
