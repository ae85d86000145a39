package event

import "time"

// Counts is the outbox at one moment. Received always equals the pending
// states plus the outcomes.
type Counts struct {
	Received, Duplicate, Ignored, Rejected uint64 // since the outbox was made
	Requeued                               uint64 // dead letters put back
	State                                  [NumStates]uint64
	// Settled counts settlements since the outbox was made: a dead letter
	// that was retried and died again counts twice.
	Settled     [NumStates]uint64
	Quarantined uint64    // in quarantine now
	Forgotten   uint64    // dropped from the quarantine for room
	Oldest      time.Time // received_at of the oldest pending event; zero if none
	FileBytes   int64     // what the files take on disk
	LiveBytes   int64     // what is not yet finished and past retain, about
	// Unreserved is how much of the room that is kept for outcomes another
	// program could take, since the file system cannot reserve it; in bytes.
	Unreserved int64
	// DeadBytes is what dead letters take, about; Crowded: so much that somebody has
	// to look at them; NoRoom how many were discarded since nobody did.
	DeadBytes int64
	Crowded   bool
	NoRoom    uint64
	Full      bool
	Watermark uint64
	NextSeq   uint64
	Epoch     uint64
	Finished  uint64 // all below that number is, and none of it a dead letter
	// Damaged tells what an earlier start could not read; "" if nothing.
	Damaged string
}
