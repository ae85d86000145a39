package callback

import (
	"log/slog"
	"sync"
	"time"
)

// refusals logs calls that did not verify, at most one a second with how many
// were left out: anybody can send them, and a log on flash must not fill up.
type refusals struct {
	log *slog.Logger

	mu      sync.Mutex
	next    time.Time
	skipped int
}

// note logs why a call was refused. The reason says nothing of its content.
func (r *refusals) note(why error) {
	r.mu.Lock()
	skipped := r.skipped
	now := time.Now()
	quiet := now.Before(r.next)
	if quiet {
		r.skipped++
	} else {
		r.skipped, r.next = 0, now.Add(time.Second)
	}
	r.mu.Unlock()
	if !quiet {
		r.log.Warn("callback: refused a call that does not verify", "reason", why, "not_logged_before", skipped)
	}
}
