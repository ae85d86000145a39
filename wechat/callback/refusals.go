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

// add logs why a call was refused. The reason says nothing of its content.
func (r *refusals) add(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.next) {
		r.skipped++
		return
	}
	r.log.Warn("callback: refused a call that does not verify", "reason", why, "not_logged_before", r.skipped)
	r.skipped, r.next = 0, now.Add(time.Second)
}
