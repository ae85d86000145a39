package control

import (
	"encoding/json"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink/syncapi/health"
)

// Status is what the agent is doing now; its JSON is promised to scripts.
type Status struct {
	Depot         scan.DepotID `json:"depot"`
	Version       string       `json:"version"`
	UptimeSeconds float64      `json:"uptime_seconds"` // 0: no agent runs
	MQTT          MQTT         `json:"mqtt"`
	Central       struct {
		Connected bool   `json:"connected"`
		LastSync  Stamp  `json:"last_sync"`
		Problem   string `json:"problem,omitempty"` // why it is not connected
	} `json:"central"`
	WeChat struct {
		State  string `json:"state"` // ok, throttled, blocked, no_token, unreachable
		Reason string `json:"reason"`
	} `json:"wechat"`
	Clock   string         `json:"clock"` // ok, unknown
	Intake  Intake         `json:"intake"`
	Pending health.Pending `json:"pending"`
	Outcome health.Outcome `json:"outcome"`
	Store   struct {
		FileBytes int64 `json:"file_bytes"`
		LiveBytes int64 `json:"live_bytes"`
		// UnreservedBytes of the room that is kept for outcomes another program
		// could take.
		UnreservedBytes int64 `json:"unreserved_bytes,omitempty"`
		Full            bool  `json:"full"`
		MaxBytes        int64 `json:"max_bytes,omitempty"` // 0: as much as the disk has
		// DeadLetterBytes is what dead letters take, about; Crowded: over 15 % of
		// the store. NoRoom counts those that were discarded for want of room.
		DeadLetterBytes int64  `json:"dead_letter_bytes,omitempty"`
		Crowded         bool   `json:"dead_letters_crowded,omitempty"`
		NoRoom          uint64 `json:"no_room,omitempty"`
		// Damaged tells what an earlier start could not read.
		Damaged string `json:"damaged,omitempty"`
	} `json:"store"`
	// QuietSince is since when no scan came in, where that is longer than usual.
	QuietSince Stamp `json:"quiet_since,omitzero"`
	// Alarms are the kinds of package health of what is wrong.
	Alarms []string `json:"alarms,omitempty"`
}

// SetAlarms fills in what is wrong by what the rest says. running: an agent does.
func (s *Status) SetAlarms(running bool) {
	s.Alarms = nil
	met := !s.Central.LastSync.IsZero() // before, nobody could have told the time, or given a token
	for _, a := range []struct {
		kind string
		is   bool
	}{
		{health.AlarmMQTTDown, running && !s.MQTT.Connected},
		{health.AlarmStoreFull, s.Store.Full},
		{health.AlarmWeChatBlocked, met && s.WeChat.State != "ok" && s.WeChat.State != "throttled"},
		{health.AlarmClockUnknown, met && s.Clock != ClockOK},
		{health.AlarmStoreDamaged, s.Store.Damaged != ""},
		{health.AlarmDeadLetters, s.Store.Crowded},
		{health.AlarmClientsHeld, s.MQTT.Throttled > 0},
		{health.AlarmQuiet, !s.QuietSince.IsZero()},
	} {
		if a.is {
			s.Alarms = append(s.Alarms, a.kind)
		}
	}
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

// MQTT is intake.Status as JSON; what is zero is left out.
type MQTT struct {
	Connected     bool   `json:"connected"`
	Problem       string `json:"problem,omitempty"`
	Full          bool   `json:"full,omitempty"`
	Clients       int    `json:"clients,omitempty"`
	Throttled     int    `json:"clients_throttled,omitempty"`
	Waiting       int64  `json:"waiting_bytes,omitempty"`
	QoS0          uint64 `json:"qos0,omitempty"`
	Lost          uint64 `json:"lost,omitempty"`
	Redelivered   uint64 `json:"redelivered,omitempty"`
	Sessions      uint64 `json:"sessions,omitempty"`
	Forgotten     uint64 `json:"sessions_forgotten,omitempty"`
	Refused       uint64 `json:"refused,omitempty"`
	Denied        uint64 `json:"denied,omitempty"`
	Cut           uint64 `json:"cut,omitempty"`
	Broken        uint64 `json:"broken,omitempty"`
	Takeovers     uint64 `json:"takeovers,omitempty"`
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
	s.Pending = health.Pending{
		Unsynced: c.State[store.Unsynced], AwaitingWaybill: c.State[store.AwaitingWaybill], ToPush: c.State[store.ToPush], OldestSeconds: oldest(c, now),
	}
	o := &s.Outcome
	o.Pushed, o.NotBound, o.Superseded = c.State[store.Pushed], c.State[store.NotBound], c.State[store.Superseded]
	o.Expired, o.Muted = c.State[store.Expired], c.State[store.Muted]
	o.Dead, o.Discarded = c.State[store.Dead], c.State[store.Discarded]
	s.Store.FileBytes, s.Store.LiveBytes = c.FileBytes, c.LiveBytes
	s.Store.UnreservedBytes = c.Unreserved
	s.Store.DeadLetterBytes, s.Store.Crowded, s.Store.NoRoom = c.DeadBytes, c.Crowded, c.NoRoom
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
