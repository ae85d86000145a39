package judge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
)

const (
	now  = int64(1_800_000_000)
	hour = int64(3600)
	day  = 24 * hour
)

// TestHorizon: what may be forgotten follows the clock that is furthest behind.
func TestHorizon(t *testing.T) {
	const keep = 30 * 24 * time.Hour
	there := judge.Horizon{At: now - 30*day}
	for _, c := range []struct {
		name   string
		e      judge.Evidence
		from   judge.Horizon
		want   int64
		reason string
	}{
		{"nobody tells the time", judge.Evidence{Clock: now}, judge.Horizon{}, 0, ""},
		{"the first time", judge.Evidence{Clock: now, Depots: now - hour, WeChat: now}, judge.Horizon{}, now - hour - 30*day, ""},
		{"an hour on", judge.Evidence{Clock: now + hour, Depots: now + hour, WeChat: now + hour}, there, there.At + hour, ""},
		{"at most a step", judge.Evidence{Clock: now + day, Depots: now + day}, there, there.At + hour, ""},
		{"depots are at rest", judge.Evidence{Clock: now + 6*day, Depots: now, WeChat: now + 6*day}, there, there.At, ""},
		{"depots are silent, so is WeChat", judge.Evidence{Clock: now + 6*day, Depots: now}, there, there.At, "WeChat says nothing"},
		{"the clock is ahead", judge.Evidence{Clock: now + 31*day, Depots: now, WeChat: now}, there, there.At, "WeChat's"},
		{"clock and depots are ahead", judge.Evidence{Clock: now + 31*day, Depots: now + 31*day, WeChat: now}, there, there.At, "WeChat's"},
		{"the clock is behind", judge.Evidence{Clock: now - 2000*day, Depots: now, WeChat: now}, there, there.At, "WeChat's"},
		{"the clock is behind, WeChat silent", judge.Evidence{Clock: now - 2000*day, Depots: now}, there, there.At, "depots have events"},
		{"all jump", judge.Evidence{Clock: now + 3*day, Depots: now + 3*day, WeChat: now + 3*day}, there, there.At, "jumped by 72h"},
		{"all jumped a day ago", judge.Evidence{Clock: now + 4*day, Depots: now + 4*day},
			judge.Horizon{At: there.At, Jump: now + 3*day}, there.At + hour, ""},
		{"the jump was none", judge.Evidence{Clock: now + hour, Depots: now + hour},
			judge.Horizon{At: there.At, Jump: now + 3*day}, there.At + hour, ""},
	} {
		h, why := c.from.Next(c.e, keep)
		if h.At != c.want || !strings.Contains(why, c.reason) || why != "" && c.reason == "" {
			t.Errorf("%s: horizon %+v, want %d; %q", c.name, h, c.want, why)
		}
	}
}

// TestDepotsTime: two depots must have reached it; those long gone don't count.
func TestDepotsTime(t *testing.T) {
	depot := func(newest, at int64) *judge.Numbering {
		return &judge.Numbering{Epochs: []judge.Epoch{{Epoch: 1, Newest: newest, At: at}}}
	}
	all := map[scan.DepotID]*judge.Numbering{}
	for _, c := range []struct {
		id   scan.DepotID
		d    *judge.Numbering
		want int64
	}{
		{"a", depot(now, now), now},
		{"b", depot(now-hour, now), now - hour},
		{"liar", depot(now+99*day, now), now},
		{"gone", depot(now+99*day, now-30*day), now},
	} {
		all[c.id] = c.d
		if got := judge.DepotsTime(all); got != c.want {
			t.Errorf("with %s: %d, want %d", c.id, got, c.want)
		}
	}
	if got := judge.DepotsTime(nil); got != 0 {
		t.Errorf("nobody tells the time: %d", got)
	}
}

// TestDepotsTimeOfAFleet: a fleet is gone through a few times, not once for each depot
// of it, while nobody can commit. Else this would take minutes.
func TestDepotsTimeOfAFleet(t *testing.T) {
	const fleet = 100_000
	all := make(map[scan.DepotID]*judge.Numbering, fleet)
	for i := range int64(fleet) {
		all[scan.DepotID(fmt.Sprint("d", i))] = &judge.Numbering{Epochs: []judge.Epoch{{Epoch: 1, Newest: now + i, At: now}}}
	}
	if got, want := judge.DepotsTime(all), now+fleet-2; got != want {
		t.Errorf("%d, want %d", got, want)
	}
}
