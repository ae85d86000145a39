package control

import (
	"encoding/json"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// Status is what the agent is doing now; its JSON is promised to scripts.
type Status struct {
	Depot         scan.DepotID `json:"depot"`
	Version       string       `json:"version"`
	UptimeSeconds float64      `json:"uptime_seconds"` // 0: no agent runs
	MQTT          MQTT         `json:"mqtt"`
	Central       struct {
		Connected bool  `json:"connected"`
		LastSync  Stamp `json:"last_sync"`
	} `json:"central"`
	WeChat struct {
		State  string `json:"state"` // ok, throttled, blocked, no_token, unreachable
		Reason string `json:"reason"`
	} `json:"wechat"`
	Clock   string  `json:"clock"` // ok, unknown
	Intake  Intake  `json:"intake"`
	Pending Pending `json:"pending"`
	Outcome struct {
		Pushed     uint64 `json:"pushed"`
		NotBound   uint64 `json:"not_bound"`
		Superseded uint64 `json:"superseded"`
		Expired    uint64 `json:"expired"`
		Muted      uint64 `json:"muted"`
		Dead       uint64 `json:"dead"`
		Discarded  uint64 `json:"discarded"`
	} `json:"outcome"`
	Store struct {
		FileBytes int64 `json:"file_bytes"`
		LiveBytes int64 `json:"live_bytes"`
		Full      bool  `json:"full"`
		// Damaged tells what an earlier start could not read.
		Damaged string `json:"damaged,omitempty"`
	} `json:"store"`
}

// Intake counts what devices sent.
type Intake struct {
	Received  uint64 `json:"received"`
	Duplicate uint64 `json:"duplicate"`
	Ignored   uint64 `json:"ignored"`
	Rejected  uint64 `json:"rejected"`
	// Forgotten left the quarantine to make room for newer ones.
	Forgotten uint64 `json:"forgotten,omitempty"`
}

// Pending counts what waits.
type Pending struct {
	Unsynced        uint64 `json:"unsynced"`
	AwaitingWaybill uint64 `json:"awaiting_waybill"`
	ToPush          uint64 `json:"to_push"`
	OldestSeconds   int64  `json:"oldest_seconds"`
}

// Total is all that waits.
func (p Pending) Total() uint64 { return p.Unsynced + p.AwaitingWaybill + p.ToPush }

// MQTT is intake.Status as JSON; what is zero is left out.
type MQTT struct {
	Connected     bool   `json:"connected"`
	Problem       string `json:"problem,omitempty"`
	Full          bool   `json:"full,omitempty"`
	Clients       int    `json:"clients,omitempty"`
	Waiting       int64  `json:"waiting_bytes,omitempty"`
	QoS0          uint64 `json:"qos0,omitempty"`
	Lost          uint64 `json:"lost,omitempty"`
	Redelivered   uint64 `json:"redelivered,omitempty"`
	Sessions      uint64 `json:"sessions,omitempty"`
	Refused       uint64 `json:"refused,omitempty"`
	Denied        uint64 `json:"denied,omitempty"`
	Cut           uint64 `json:"cut,omitempty"`
	Broken        uint64 `json:"broken,omitempty"`
	SparkplugGaps uint64 `json:"sparkplug_gaps,omitempty"`
	RebirthsAsked uint64 `json:"rebirths_asked,omitempty"`
}

// The two words of Status.Clock.
const (
	ClockOK      = "ok"
	ClockUnknown = "unknown"
)

// SetCounts fills in what the outbox counts.
func (s *Status) SetCounts(c store.Counts, now time.Time) {
	s.Intake = Intake{c.Received, c.Duplicate, c.Ignored, c.Rejected, c.Forgotten}
	s.Pending = Pending{c.State[store.Unsynced], c.State[store.AwaitingWaybill], c.State[store.ToPush], oldest(c, now)}
	o := &s.Outcome
	o.Pushed, o.NotBound, o.Superseded = c.State[store.Pushed], c.State[store.NotBound], c.State[store.Superseded]
	o.Expired, o.Muted = c.State[store.Expired], c.State[store.Muted]
	o.Dead, o.Discarded = c.State[store.Dead], c.State[store.Discarded]
	s.Store.FileBytes, s.Store.LiveBytes = c.FileBytes, c.LiveBytes
	s.Store.Full, s.Store.Damaged = c.Full, c.Damaged
}

// oldest returns the age of the oldest pending event in whole seconds.
func oldest(c store.Counts, now time.Time) int64 {
	if c.Oldest.IsZero() {
		return 0
	}
	return max(0, int64(now.Sub(c.Oldest)/time.Second))
}

// Stamp is a moment that JSON shows in RFC 3339 UTC, or null when zero.
type Stamp struct{ time.Time }

// MarshalJSON writes at most milliseconds: nothing here is known better.
func (s Stamp) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(s.String())
}

// String returns the moment as JSON has it, "" when zero.
func (s Stamp) String() string {
	if s.IsZero() {
		return ""
	}
	return s.UTC().Format("2006-01-02T15:04:05.999Z07:00")
}
