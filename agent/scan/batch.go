package scan

import (
	"sync/atomic"
	"time"
)

// Batch is what one MQTT message came to; it is committed whole.
type Batch struct {
	Events []Event
	// Redelivered: the message had the DUP flag. It decides whether an equal
	// Weak key within ten minutes is the same event.
	Redelivered bool
	Rejects     []Reject
	Ignored     int // reads in it that are none
	// OnChange: its device sends what it holds again and again, and only a change
	// is a scan.
	OnChange bool
	Repeated int // reads in it that dedupe_window made one with an earlier one
	// Client sent it: a hash, of which the upper ten bits are of the address, the others
	// of the client there; 0: it is not known. Shared: it alone may be refused when room
	// is short and it has its share.
	Client uint16
	Shared bool
	// Refused keeps what one sender gives in order; nil: there is none. The outbox sets it
	// with the first batch that it refuses after it took it, and then takes none with it. The
	// sender clears it once all that it gave is answered, and begins again with the
	// first that was refused.
	Refused *atomic.Bool
}

// NoWaybill is the code of a message in which no waybill number was found. It may be
// a heartbeat, of which there are many: such messages have a share of the quarantine
// of their own, and wait for company before they cost a commit.
const NoWaybill = "no_waybill"

// Reject is a message, or one element of it, that could not be understood. It
// is kept whole in quarantine.
type Reject struct {
	Topic      string
	Payload    []byte
	Index      int    // the element's place within the message; -1: the whole message
	Code       string // a short fixed word for the metric: not_json, no_station, …
	Reason     string // one line for people: what is wrong, where, what to do
	ReceivedAt time.Time
	Clockless  *BootTime // while the gateway's clock could not be believed: then ReceivedAt is provisional
}

// Stored tells what Append did with a batch.
type Stored struct {
	Events    int // newly stored
	Duplicate int // recognised, not stored again
	Rejected  int // put into quarantine
}
