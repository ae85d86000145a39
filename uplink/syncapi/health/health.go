package health

import (
	"regexp"
	"slices"
)

// Report is how an agent does, as its operators see it at the centre. Counts are
// those of its status.
type Report struct {
	Pending Pending `json:"pending"`
	Outcome Outcome `json:"outcome"`
	Clock   string  `json:"clock"`  // ok, unknown
	WeChat  string  `json:"wechat"` // state, as in status
	Store   Store   `json:"store"`
	// Alarms names what is wrong: the kinds below, and ones of later versions.
	Alarms []string `json:"alarms,omitempty"`
}

// Pending counts the events that wait.
type Pending struct {
	Unsynced        uint64 `json:"unsynced"`
	AwaitingWaybill uint64 `json:"awaiting_waybill"`
	ToPush          uint64 `json:"to_push"`
	OldestSeconds   int64  `json:"oldest_seconds"` // age of the oldest
}

// Total is all that waits.
func (p Pending) Total() uint64 { return p.Unsynced + p.AwaitingWaybill + p.ToPush }

// Outcome counts the events that ended, since the agent's store was made; of dead
// ones those that are so now.
type Outcome struct {
	Pushed     uint64 `json:"pushed"`
	NotBound   uint64 `json:"not_bound"`
	Superseded uint64 `json:"superseded"`
	Expired    uint64 `json:"expired"`
	Muted      uint64 `json:"muted"`
	Dead       uint64 `json:"dead"`
	Discarded  uint64 `json:"discarded"`
}

// Store is the room that the agent's store takes, and may take, in bytes.
type Store struct {
	FileBytes int64 `json:"file_bytes"`
	MaxBytes  int64 `json:"max_bytes"` // 0: as much as the disk has
	Full      bool  `json:"full"`
}

// Kinds of alarms that an agent raises.
const (
	AlarmStoreFull     = "store_full"           // scans are not acknowledged
	AlarmStoreDamaged  = "store_damaged"        // a start could not read all
	AlarmDeadLetters   = "dead_letters_crowded" // they take over 15 % of the store
	AlarmMQTTDown      = "mqtt_down"            // no scans come in
	AlarmClientsHeld   = "clients_throttled"    // clients that have their share of the room
	AlarmClockUnknown  = "clock_unknown"        // nothing is synced nor pushed
	AlarmWeChatBlocked = "wechat_blocked"       // refuses calls, or cannot be reached
	AlarmQuiet         = "quiet"                // no scans for longer than usual
)

// Bounds of what is taken from a depot; what is beyond is cut.
const (
	MaxAlarms = 16
	MaxCount  = 1 << 40 // of events, bytes or seconds: sums over a fleet stay numbers
)

// Bounded is the report with each number within its bounds.
func (r Report) Bounded() Report {
	p, o, s := &r.Pending, &r.Outcome, &r.Store
	for _, n := range []*uint64{
		&p.Unsynced, &p.AwaitingWaybill, &p.ToPush,
		&o.Pushed, &o.NotBound, &o.Superseded, &o.Expired, &o.Muted, &o.Dead, &o.Discarded,
	} {
		*n = min(*n, MaxCount)
	}
	for _, n := range []*int64{&p.OldestSeconds, &s.FileBytes, &s.MaxBytes} {
		*n = max(0, min(*n, MaxCount))
	}
	r.Clock, r.WeChat = word(r.Clock), word(r.WeChat)
	r.Alarms = slices.Clone(r.Alarms[:min(len(r.Alarms), MaxAlarms)])
	for i := range r.Alarms {
		r.Alarms[i] = word(r.Alarms[i])
	}
	return r
}

var name = regexp.MustCompile(`^[a-z_]{0,40}$`)

// word returns what can be the name of a state or an alarm: a depot may send anything.
func word(s string) string {
	if name.MatchString(s) {
		return s
	}
	return "unknown"
}
