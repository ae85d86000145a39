package uplink

import "time"

// Retry intervals, all with full jitter.
const (
	transientBase = time.Second
	transientCap  = 5 * time.Minute
	mismatchBase  = time.Second
	mismatchCap   = 30 * time.Second
	syncBase      = time.Second
	syncCap       = 30 * time.Second
)
