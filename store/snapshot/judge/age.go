package judge

import (
	"fmt"
	"slices"
	"time"

	"scanrelay/agent/scan"
)

// Evidence is what is known of what time it is, in unix seconds; 0: nothing.
type Evidence struct {
	Clock  int64 // of this machine
	WeChat int64
	Depots int64 // see DepotsTime
}

// quiet is how long a depot may bring nothing before its word is no longer
// waited for.
const quiet = 7 * 24 * time.Hour

// DepotsTime is the newest time that two depots' events reached, so that no
// depot alone can tell the time; of those that brought something lately. A depot
// that is alone is believed.
func DepotsTime(all map[scan.DepotID]*Numbering) int64 {
	since := lately(all)
	var times []int64
	for _, d := range all {
		if e := d.newest(); e != nil && e.At >= since {
			times = append(times, d.newestTime())
		}
	}
	slices.Sort(times)
	switch n := len(times); n {
	case 0:
		return 0
	case 1:
		return times[0]
	default:
		return times[n-2]
	}
}

// lately is since when a depot must have brought something to be listened to.
func lately(all map[scan.DepotID]*Numbering) (since int64) {
	for _, d := range all {
		if e := d.newest(); e != nil {
			since = max(since, e.At-seconds(quiet))
		}
	}
	return since
}

// Alone reports whether no other depot brought anything lately: then its word is
// all that there is.
func Alone(all map[scan.DepotID]*Numbering, depot scan.DepotID) bool {
	since := lately(all)
	for id, d := range all {
		if e := d.newest(); id != depot && e != nil && e.At >= since {
			return false
		}
	}
	return true
}

// newestTime is the newest action_time of a depot's events.
func (d *Numbering) newestTime() (t int64) {
	for i := range d.Epochs {
		t = max(t, d.Epochs[i].Newest)
	}
	return t
}

// agreed is the newest time that everybody has reached who tells one; 0: nobody
// does but this machine.
func (e Evidence) agreed() int64 {
	t := min(e.Clock, e.Depots)
	if e.WeChat != 0 {
		t = min(t, e.WeChat)
	}
	return t
}

// How far clocks may differ before that is told. Depots have nothing to tell
// over a day without work, so they are asked for where WeChat says nothing.
const (
	clockSkew  = time.Hour
	depotsSkew = 36 * time.Hour
)

// doubt tells what speaks against this machine's clock; "" if nothing does.
func (e Evidence) doubt() string {
	switch {
	case e.Depots == 0:
		return ""
	case e.WeChat != 0 && differ(e.Clock, e.WeChat, clockSkew):
		return fmt.Sprintf("this machine's clock says %s, WeChat's %s", when(e.Clock), when(e.WeChat))
	case e.Depots > e.Clock+seconds(2*clockSkew):
		return fmt.Sprintf("this machine's clock says %s, depots have events of %s", when(e.Clock), when(e.Depots))
	case e.WeChat == 0 && differ(e.Clock, e.Depots, depotsSkew):
		return fmt.Sprintf("this machine's clock says %s, the newest events of depots are of %s, and WeChat says nothing",
			when(e.Clock), when(e.Depots))
	}
	return ""
}

func differ(a, b int64, by time.Duration) bool { return max(a, b)-min(a, b) > seconds(by) }

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func when(t int64) string { return time.Unix(t, 0).UTC().Format(time.RFC3339) }

// Horizon is how far a store has forgotten.
type Horizon struct {
	At   int64 // what last changed before it may go, unix seconds; 0: none yet
	Jump int64 // when a jump of the time was seen that is not believed yet, by Clock; 0: none
}

// A horizon follows the time in steps, so that what is wrong for a day erases
// hours, not everything. A jump is believed after a day: a machine that stood
// still for a week shows one too.
const (
	horizonStep = time.Hour
	jumpFrom    = 48 * time.Hour
	jumpHold    = 24 * time.Hour
)

// Next moves the horizon on by at most a step, and tells why it does not follow
// the clock; "" if it does. Nothing younger than keep by any clock lies before it.
func (h Horizon) Next(e Evidence, keep time.Duration) (Horizon, string) {
	if e.agreed() == 0 {
		return h, e.doubt()
	}
	target := e.agreed() - seconds(keep)
	switch {
	case h.At == 0:
		return Horizon{At: target}, e.doubt()
	case target <= h.At:
		return Horizon{At: h.At}, e.doubt()
	case target-h.At <= seconds(jumpFrom):
	case h.Jump == 0:
		h.Jump = e.Clock
		fallthrough
	case e.Clock < h.Jump+seconds(jumpHold):
		return h, fmt.Sprintf("the time has jumped by %v; if it is right, forgetting goes on after %s",
			time.Duration(target-h.At)*time.Second, when(h.Jump+seconds(jumpHold)))
	}
	h.At = min(target, h.At+seconds(horizonStep))
	if target-h.At <= seconds(jumpFrom) {
		h.Jump = 0
	}
	return h, e.doubt()
}

// LastSign is the newest time that anybody gave of a waybill: this machine's
// clock when it changed, depots' clocks, the carrier's. A parcel is kept as long as
// its mother is.
func (s *State) LastSign() int64 {
	if s == nil {
		return 0
	}
	t := s.Changed
	for i := range s.Nodes {
		t = max(t, s.Nodes[i].ActionTime)
	}
	if s.Data != nil {
		t = max(t, s.Data.CreateTime)
	}
	return t
}
