package mapping

import (
	"time"
)

// Clock tells the time and whether it can be believed.
type Clock interface {
	Now() time.Time
	Believable() bool
	// Boot returns the kernel's boot id and the time since that boot.
	Boot() (id string, since time.Duration)
}

// Info is what is known of a message beside its topic and payload.
type Info struct {
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
