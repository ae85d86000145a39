package rollout

import (
	"fmt"
	"time"

	"scanrelay/agent/update/trust"
)

// Counts are the gateways of a ring.
type Counts struct {
	Ring    int `json:"ring"` // 0: the canaries
	Total   int `json:"total"`
	Already int `json:"already"` // ran it, or something newer, before they were told
	Updated int `json:"updated"`
	Failed  int `json:"failed"`
	Busy    int `json:"under_way"`
	Silent  int `json:"silent"`  // were told, and are away since
	Offline int `json:"offline"` // away, and not told
	Held    int `json:"held"`
	Unable  int `json:"unable"`  // say nothing of updates: too old, or not installed by a package
	Waiting int `json:"waiting"` // for their window, their site or their ring
	Gone    int `json:"back"`    // have gone back since
}

// Has is how many have it, or something newer.
func (c Counts) Has() int { return c.Already + c.Updated - c.Gone }

// told is how many were told.
func (c *Counts) told() int { return c.Updated + c.Failed + c.Busy + c.Silent }

func (c *Counts) add(o Counts) {
	c.Total, c.Already, c.Updated, c.Failed = c.Total+o.Total, c.Already+o.Already, c.Updated+o.Updated, c.Failed+o.Failed
	c.Busy, c.Silent, c.Offline, c.Held = c.Busy+o.Busy, c.Silent+o.Silent, c.Offline+o.Offline, c.Held+o.Held
	c.Unable, c.Waiting, c.Gone = c.Unable+o.Unable, c.Waiting+o.Waiting, c.Gone+o.Gone
}

// count counts the fleet by rings; member tells which were told.
func (r *Rollout) count(fleet []Depot, member func(*Depot) *Member) []Counts {
	list := make([]Counts, len(r.Rings)+1)
	for i := range list {
		list[i].Ring = i
	}
	for i := range fleet {
		d := &fleet[i]
		ring := r.ring(d)
		if ring == nowhere || d.Revoked {
			continue
		}
		c := &list[ring]
		c.Total++
		m := member(d)
		switch {
		case m != nil && !m.Gone.IsZero():
			c.Gone++
			if m.Result == Failed {
				c.Failed++
			} else {
				c.Updated++
			}
		case m != nil && m.Result == Failed:
			c.Failed++
		case m != nil && m.Result == Updated:
			c.Updated++
		case m != nil && m.Result == "" && d.Away:
			c.Silent++
		case m != nil && m.Result == "":
			c.Busy++
		case d.Version != "" && trust.Compare(d.Version, r.Version) >= 0:
			c.Already++
		case d.Away:
			c.Offline++
		case d.Update == nil:
			c.Unable++
		case d.Update.State == "held":
			c.Held++
		default:
			c.Waiting++
		}
	}
	return list
}

// patience is how long a ring waits for gateways that could be told and were not, or do
// not come to an end: one day has every window in it. They get the release whenever
// they can.
const patience = 24 * time.Hour

// judge moves a rollout on, or halts it. sure is false while it cannot be known who
// is away, as after a start. happened says what was done, "" for nothing.
func (r *Rollout) judge(list []Counts, now time.Time, sure bool) (happened string) {
	var all, open Counts
	for _, c := range list {
		if all.add(c); c.Ring <= r.Ring {
			open.add(c)
		}
	}
	if r.State != Halted && r.State != Back && all.Failed > r.Forgiven && float64(all.Failed) > r.HaltAt*float64(all.told()) {
		r.become(Halted, now)
		r.Why = fmt.Sprintf(whyFailed, all.Failed, all.told())
		return "halt"
	}
	if r.State != Running || !sure {
		return ""
	}
	own := list[r.Ring]
	switch {
	case own.Total == own.Already: // nobody is there to look at
	case own.Updated+own.Failed == 0:
		return ""
	case r.Soaking.IsZero():
		if open.Waiting+open.Busy > 0 && now.Sub(r.Opened) < patience {
			return ""
		}
		r.Soaking = now
		return "soak"
	case now.Sub(r.Soaking) < r.soak():
		return ""
	}
	r.Soaking = time.Time{}
	if r.Ring == len(r.Rings) {
		r.become(Done, now)
		return "done"
	}
	r.Ring, r.Opened = r.Ring+1, now
	return "ring"
}

func (r *Rollout) become(state string, now time.Time) { r.State, r.Since, r.Why = state, now, "" }

// Needs a person: kinds of what must be decided, or looked at.
const (
	NeedDecision = "halted"    // back, or resume
	NeedResume   = "paused"    // resume, or halt
	NeedReach    = "nobody"    // of the ring can be reached
	NeedSilent   = "silent"    // gateways were told, and are away since
	NeedUnable   = "unable"    // gateways say nothing of updates
	NeedFailed   = "failed"    // some did, below the bound
	NeedStuck    = "under_way" // some are for hours
)

// stuck is how long a ring may wait before a person should look.
const stuck = 2 * time.Hour

// needs are those of a rollout as it is.
func (r *Rollout) needs(list []Counts, now time.Time) (kinds []string) {
	var open Counts
	for _, c := range list {
		if c.Ring <= r.Ring {
			open.add(c)
		}
	}
	own := list[r.Ring]
	for _, n := range []struct {
		is   bool
		kind string
	}{
		{r.State == Halted, NeedDecision},
		{r.State == Paused, NeedResume},
		{r.State == Running && own.Total > own.Already && own.told() == 0 && own.Waiting == 0 && now.Sub(r.Opened) > stuck, NeedReach},
		{r.State == Running && own.Busy > 0 && r.Soaking.IsZero() && now.Sub(r.Opened) > stuck && own.Waiting == 0, NeedStuck},
		{open.Silent > 0, NeedSilent},
		{r.State != Halted && r.State != Back && open.Failed > 0, NeedFailed},
		{r.State != Back && open.Unable > 0, NeedUnable},
	} {
		if n.is {
			kinds = append(kinds, n.kind)
		}
	}
	return kinds
}
