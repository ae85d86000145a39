package snapshot

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// maxDamage bounds what Stats tells of damage.
const maxDamage = 100

// Damage is what a store found broken, for its Stats. Its zero value is ready.
type Damage struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

// Note notes something, once, and tells the log.
func (d *Damage) Note(log *slog.Logger, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) < maxDamage && !slices.Contains(d.list, what) {
		d.list = append(d.list, what)
		log.Error("snapshot is damaged", "what", what)
	}
}

// List is all of it.
func (d *Damage) List() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.list)
}
