package wait

import (
	"sync"
	"time"
)

// Rarely bounds how often something is done, such as a line in the log that
// anybody can cause. It may be used by several goroutines at once.
type Rarely struct {
	Every time.Duration

	mu   sync.Mutex
	next time.Time
	left int
}

// Due reports whether it is to be done at now, and how often it was left out since
// it was done last.
func (r *Rarely) Due(now time.Time) (leftOut int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.next) {
		r.left++
		return 0, false
	}
	leftOut, r.left, r.next = r.left, 0, now.Add(r.Every)
	return leftOut, true
}
