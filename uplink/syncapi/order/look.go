package order

import (
	"regexp"

	"scanrelay/agent/scan"
)

// Bounds of looks.
const (
	MaxLooks = 16 // waybills that a depot is asked about at once
	MaxFates = 50 // scans of one waybill that it tells of, the latest
)

// Looked is what a depot knows of a waybill that it was asked about: one of each scan, or
// one without an event where it has none.
type Looked struct {
	Waybill scan.WaybillID `json:"waybill_id"`
	Fate
}

// Fate is what became of one scan at its depot.
type Fate struct {
	EventID  string `json:"event_id,omitempty"`
	Outcome  string `json:"outcome,omitempty"` // or where it stands, as in status
	Time     int64  `json:"time,omitempty"`    // when it ended, unix seconds; 0: it has not
	Attempts int    `json:"attempts,omitempty"`
	ErrCode  int    `json:"errcode,omitempty"` // WeChat's last one
}

var stateName = regexp.MustCompile(`^[a-z_]{1,40}$`)

// Bounded is the fate within its bounds: a depot may say anything.
func (f Fate) Bounded() Fate {
	f.EventID = line(f.EventID)
	if !stateName.MatchString(f.Outcome) {
		f.Outcome = "unknown"
	}
	f.Time, f.Attempts = max(0, min(f.Time, 1<<40)), max(0, min(f.Attempts, 1<<20))
	return f
}
