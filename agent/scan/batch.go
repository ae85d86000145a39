package scan

import "time"

// Batch is what one MQTT message came to; it is committed whole.
type Batch struct {
	Events []Event
	// Redelivered: the message had the DUP flag. It decides whether an equal
	// Weak key within ten minutes is the same event.
	Redelivered bool
	Rejects     []Reject
	Ignored     int // reads in it that are none
	Repeated    int // reads in it that dedupe_window made one with an earlier one
}

// Reject is a message, or one element of it, that could not be understood. It
// is kept whole in quarantine.
type Reject struct {
	Topic      string
	Payload    []byte
	Index      int    // the element's place within the message; -1: the whole message
	Code       string // a short fixed word for the metric: not_json, no_station, …
	Reason     string // one line for people: what is wrong, where, what to do
	ReceivedAt time.Time
}

// Stored tells what Append did with a batch.
type Stored struct {
	Events    int // newly stored
	Duplicate int // recognised, not stored again
	Rejected  int // put into quarantine
}
