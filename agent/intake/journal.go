package intake

import (
	"time"

	"scanrelay/agent/scan"
)

// Journal makes batches durable; the outbox is one.
type Journal interface {
	// Submit takes a batch for the next commit and returns at once. done is
	// called exactly once, from the committer's goroutine, in order of
	// submission, after fsync (or with an error); it must not block.
	// An error from Submit: not taken, done is not called: withhold the
	// acknowledgement and wait for Room.
	Submit(b scan.Batch, done func(scan.Stored, error)) error
	// Room returns a channel that is closed while there is room, or as soon
	// as there is some again.
	Room() <-chan struct{}
}

// Clock tells the time and whether it can be believed (design.md section 2,
// Clock rule).
type Clock interface {
	Now() time.Time
	Believable() bool
	// Boot returns the kernel's boot id and the time since that boot.
	Boot() (id string, since time.Duration)
}

// MessageInfo is what is known of a message beside its topic and payload.
type MessageInfo struct {
	DUP      bool // the sender says that it sent it before
	Retained bool // the broker had kept it: RETAIN was set on delivery
	// ReceivedAt is when it came; zero: now.
	ReceivedAt time.Time
	// Serial tells messages of one process apart that came at the same
	// moment; it only goes into the ids of events that have neither an id nor
	// a time.
	Serial uint64
	// Size is that of the whole payload, where only its beginning is left; 0:
	// it is whole.
	Size int64

	again bool // it comes out of the quarantine; see Again
}
