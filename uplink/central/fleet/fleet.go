package fleet

import (
	"cmp"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/syncapi/health"
)

// State is how a depot does.
type State string

// The states. Fault: its scans do not reach receivers now. Attention: something is to
// be done, or they are late.
const (
	OK        State = "ok"
	Attention State = "attention"
	Fault     State = "fault"
)

// States are all, the worst first.
var States = []State{Fault, Attention, OK}

// Alarm is something that is wrong now.
type Alarm struct {
	Kind  string
	Since time.Time // zero: not known
}

// Depot is one of the fleet: its registration, its last sync, its numbers.
type Depot struct {
	ID         scan.DepotID
	Name, Site string
	Labels     map[string]string
	Identity   string // invited, enrolled, revoked, damaged, static
	presence.Member
	snapshot.Depot
	Share   float64 // calls a second
	Backlog int64   // events to push, by its last sync

	// Judge fills these in.
	Wrong []Alarm // the worst first
	State State
}

// Revoked reports whether the depot may not call any more.
func (d *Depot) Revoked() bool { return d.Identity == "revoked" }

// Kinds of alarms that the centre raises itself, beside those of [health].
const (
	Away       = "away"
	NeverHeard = "never_heard"
	Cloned     = "identity_cloned"
	KeyUnknown = "key_unknown"
	Unreadable = "registration_damaged"
	Refused    = "sync_refused"
	Behind     = "behind"
	Gaps       = "gaps"
)

// behind is the age of the oldest event that waits from which a depot counts as
// behind: messages are then late for receivers.
const behind = 10 * time.Minute

// refusedFor is for how long nothing of a depot is taken before that is an alarm: a body may
// break off on a bad line.
const refusedFor = 30 * time.Second

// faults are the kinds that keep scans from receivers, the gravest first; all others
// want attention.
var faults = []string{
	Cloned, KeyUnknown, Unreadable, Away, Refused, health.AlarmMQTTDown, health.AlarmStoreFull, health.AlarmClockUnknown, health.AlarmWeChatBlocked,
}

// Judge fills in what is wrong with a depot; others are alarms known elsewhere. With one
// that is revoked nothing is: it was taken out of the fleet.
func (d *Depot) Judge(others ...Alarm) {
	if d.Wrong, d.State = nil, OK; d.Revoked() {
		return
	}
	d.Wrong = slices.Clone(others)
	add := func(is bool, kind string, since time.Time) {
		if is {
			d.Wrong = append(d.Wrong, Alarm{kind, since})
		}
	}
	add(d.Last.IsZero(), NeverHeard, time.Time{})
	add(!d.Last.IsZero() && d.Away, Away, d.Last)
	add(!d.Refused.IsZero() && d.Last.Sub(d.Refused) > refusedFor, Refused, d.Refused)
	for _, a := range d.Alarms {
		add(true, a.Kind, a.Since)
	}
	if h := d.Health; h != nil {
		age := time.Duration(min(h.Pending.OldestSeconds, 1<<32)) * time.Second
		add(age > behind, Behind, d.Last.Add(-age))
	}
	add(len(d.Gaps) > 0, Gaps, time.Time{})
	rank := func(a Alarm) int {
		if i := slices.Index(faults, a.Kind); i >= 0 {
			return i
		}
		return len(faults)
	}
	slices.SortStableFunc(d.Wrong, func(a, b Alarm) int { return cmp.Compare(rank(a), rank(b)) })
	switch {
	case len(d.Wrong) == 0:
	case rank(d.Wrong[0]) < len(faults):
		d.State = Fault
	default:
		d.State = Attention
	}
}

// Sums are those of a fleet.
type Sums struct {
	States        map[State]int
	Waiting, Dead uint64 // events
	Connected     int
}

// SumUp adds up all depots.
func SumUp(all []Depot) Sums {
	s := Sums{States: map[State]int{}}
	for i := range all {
		d := &all[i]
		s.States[d.State]++
		if !d.Last.IsZero() && !d.Away {
			s.Connected++
		}
		if d.Health != nil {
			s.Waiting += d.Health.Pending.Total()
			s.Dead += d.Health.Outcome.Dead
		}
	}
	return s
}
