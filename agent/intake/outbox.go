package intake

import "scanrelay/agent/scan"

// Outbox makes batches durable.
type Outbox interface {
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
