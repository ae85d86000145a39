package rollout

import (
	"fmt"
	"maps"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/agent/update/trust"
	"scanrelay/uplink/syncapi/directive"
)

// States of a rollout.
const (
	Running = "running"
	Paused  = "paused" // by a person: nobody begins
	Halted  = "halted" // by failures, or a person
	Back    = "back"   // those that have it go back to what they had before
	Done    = "done"   // all rings have passed; who wakes up later gets it, too
)

// Rollout is a release on its way.
type Rollout struct {
	ID string `json:"id"`
	Plan
	By      string    `json:"by"`
	Begun   time.Time `json:"begun"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`         // of State
	Why     string    `json:"why,omitempty"` // it was halted
	Ring    int       `json:"ring"`          // the last that is open
	Opened  time.Time `json:"opened"`
	Soaking time.Time `json:"soaking,omitzero"` // since when the open rings have it, as far as they can be reached
	// Forgiven are the failures that a person knew of who resumed.
	Forgiven int `json:"forgiven,omitempty"`
}

// Results of a gateway that was told.
const (
	Updated   = "updated"
	Failed    = "failed"
	Withdrawn = "withdrawn" // before it began
)

// Member is a gateway that was told.
type Member struct {
	From     string    `json:"from"` // the version that it had
	At       time.Time `json:"at"`   // when it was told
	Ring     int       `json:"ring"`
	Result   string    `json:"result,omitempty"` // "": it is under way
	Why      string    `json:"why,omitempty"`
	Done     time.Time `json:"done,omitzero"`
	Was      string    `json:"was,omitempty"`      // the verdict on this release that it told of before
	Restarts int       `json:"restarts,omitempty"` // unplanned ones that it told of when it was done
	Back     time.Time `json:"back,omitzero"`      // when it was told to go back
	Gone     time.Time `json:"gone,omitzero"`      // when it had
	Left     bool      `json:"left,omitempty"`     // the rollout before this one told it, and it has not come to an end since
}

// busy reports whether it may be changing its version just now.
func (m Member) busy() bool { return m.Result == "" || !m.Back.IsZero() && m.Gone.IsZero() }

// backLasts is how long a gateway may take to go back before nobody waits for it.
const backLasts = 5 * time.Minute

// over reports whether what the rollout before had a gateway do has come to an end.
func (m Member) over(d *Depot, now time.Time) bool {
	return d.Update != nil && d.Update.State != "trial" && (m.Back.IsZero() || d.Version == m.From || now.Sub(m.Back) > backLasts)
}

// Group is the gateways of one site.
type Group struct {
	Rollout string                   `json:"rollout"`
	Members map[scan.DepotID]*Member `json:"members"`
}

// of is the group as far as it is of a rollout. Who is under way for another one still
// keeps the others of the site waiting.
func (g Group) of(rollout string) Group {
	if g.Rollout == rollout {
		return g
	}
	left := map[scan.DepotID]*Member{}
	for id, m := range g.Members {
		if m.busy() {
			was := *m
			was.Left = true
			left[id] = &was
		}
	}
	return Group{Rollout: rollout, Members: left}
}

// with is the group with another member; nil: without it.
func (g Group) with(id scan.DepotID, m *Member) Group {
	next := map[scan.DepotID]*Member{}
	maps.Copy(next, g.Members)
	if next[id] = m; m == nil {
		delete(next, id)
	}
	g.Members = next
	return g
}

// Depot is what is known of one.
type Depot struct {
	ID      scan.DepotID
	Site    string // "": it stands alone
	Labels  map[string]string
	Version string // that it runs
	Update  *directive.UpdateState
	Away    bool
	Revoked bool
}

// zoneLabel names the depot's time zone.
const zoneLabel = "timezone"

// local is the time at a depot: by its label, else the centre's.
func (d *Depot) local(now time.Time) time.Time {
	if name := d.Labels[zoneLabel]; name != "" {
		if zone, err := time.LoadLocation(name); err == nil {
			return now.In(zone)
		}
	}
	return now
}

// key names the depot's group.
func (d *Depot) key() string {
	if d.Site == "" {
		return "depot/" + string(d.ID)
	}
	return "site/" + d.Site
}

// Hear takes what a depot says with a sync. It returns the group as it is then, whether
// that is another, and what the depot is to be told once it is kept.
func (r *Rollout) Hear(g Group, d *Depot, now time.Time) (next Group, changed bool, want directive.Directives) {
	was := g.Members[d.ID]
	if was != nil && was.Left && was.over(d, now) {
		g, changed, was = g.with(d.ID, nil), true, nil
	}
	var m Member
	if was != nil {
		if m = *was; m.Left {
			return g, changed, want
		}
		if d.Update != nil { // else it is no agent, or one that has just begun
			r.look(&m, d, now)
		}
	}
	free := true
	for id, other := range g.Members {
		free = free && (id == d.ID || !other.busy())
	}
	switch {
	case (was == nil || m.Result == Withdrawn) && free && r.may(d, now):
		m = Member{From: d.Version, At: now.UTC(), Ring: r.ring(d), Was: verdict(d.Update, r.Version)}
	case was == nil:
		return g, changed, want
	case r.State == Back && m.Back.IsZero() && d.Version == r.Version && free:
		m.Back = now.UTC()
	}
	if was == nil || *was != m {
		g, changed = g.with(d.ID, &m), true
	}
	return g, changed, r.tell(&m, d, now)
}

// tell is what a gateway is to do.
func (r *Rollout) tell(m *Member, d *Depot, now time.Time) (want directive.Directives) {
	switch {
	case r.State == Back && !m.Back.IsZero() && m.Gone.IsZero():
		want.Update = &directive.Update{Version: m.From, Rollout: r.ID, Back: true}
	case m.Result != "":
	case r.State == Halted || r.State == Back:
		want.Hold = true
	default:
		want.Update = &directive.Update{Version: r.Version, Rollout: r.ID}
		want.Hold = r.State == Paused || !r.within(d.local(now))
	}
	return want
}

// may reports whether a gateway can be told now.
func (r *Rollout) may(d *Depot, now time.Time) bool {
	ring := r.ring(d)
	return (r.State == Running || r.State == Done) && ring != nowhere && ring <= r.Ring && !d.Revoked && d.Update != nil &&
		takes(d.Update.State) && trust.Compare(d.Version, r.Version) < 0 && r.within(d.local(now))
}

// idle reports whether a gateway does nothing about its version.
func idle(state string) bool {
	return state == "idle" || state == "committed" || state == "rolled_back"
}

// takes reports whether it takes another version. What was brought for a rollout that was
// halted lies there until there is another one.
func takes(state string) bool { return idle(state) || state == "downloading" || state == "staged" }

func verdict(u *directive.UpdateState, version string) string {
	if u == nil || u.Target != version {
		return ""
	}
	return u.Verdict
}

// look finds out how a gateway did that was told, from what it says of its versions.
func (r *Rollout) look(m *Member, d *Depot, now time.Time) {
	said := verdict(d.Update, r.Version)
	bad := said == "bad" || said == "by_hand" && m.Was != said
	order := trust.Compare(d.Version, r.Version)
	settled, held := idle(d.Update.State), d.Update.State == "held"
	fail := func(why string) { m.Result, m.Why = Failed, why }
	switch {
	case !m.Back.IsZero():
		if m.Gone.IsZero() && d.Version != r.Version {
			m.Gone = now.UTC()
		}
	case m.Result == Failed:
	case bad && d.Update.Reason != "":
		fail(said + ": " + d.Update.Reason)
	case bad:
		fail(said)
	case m.Result == Updated && order < 0:
		fail("it runs " + d.Version + " again")
	case m.Result == Updated && d.Update.Restarts > m.Restarts && now.Sub(m.Done) <= r.soak():
		fail(fmt.Sprintf("%d unplanned restarts within the soak", d.Update.Restarts-m.Restarts))
	case m.Result == Updated:
	case order >= 0 && (settled || held):
		m.Result, m.Done, m.Restarts = Updated, now.UTC(), d.Update.Restarts
	case m.Result == "" && settled && r.State == Halted,
		// Nobody resumes what goes back: what was brought is not tried any more.
		m.Result == "" && (settled || held || d.Update.State == "downloading") && r.State == Back:
		m.Result, m.Done = Withdrawn, now.UTC()
	}
}

func (r *Rollout) soak() time.Duration { return time.Duration(r.Soak) * time.Second }
