package agent

import (
	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/intake"
	"scanrelay/agent/scan"
	"scanrelay/store"
)

// meteredOutbox is the outbox as intake sees it; what was rejected is counted by
// reason, and the hook hears what was stored.
type meteredOutbox struct {
	outbox   *store.Outbox
	set      *metrics.Set
	onStored func(scan.Batch, scan.Stored)
}

var _ intake.Outbox = (*meteredOutbox)(nil)

// Submit implements intake.Outbox.
func (m *meteredOutbox) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	if len(b.Rejects) == 0 && m.onStored == nil {
		return m.outbox.Submit(b, done)
	}
	return m.outbox.Submit(b, func(s scan.Stored, err error) {
		if err == nil {
			m.stored(b, s)
		}
		done(s, err)
	})
}

func (m *meteredOutbox) stored(b scan.Batch, s scan.Stored) {
	for _, r := range b.Rejects {
		m.set.GetOrCreateCounter(`scanrelay_events_rejected_total{reason="` + label(r.Code) + `"}`).Inc()
	}
	if m.onStored != nil {
		m.onStored(b, s)
	}
}

// label keeps a reject's code to what a label may hold.
func label(code string) string {
	for _, r := range code {
		if (r < 'a' || r > 'z') && r != '_' && (r < '0' || r > '9') {
			return "other"
		}
	}
	if code == "" {
		return "other"
	}
	return code
}

// Room implements intake.Outbox.
func (m *meteredOutbox) Room() <-chan struct{} { return m.outbox.Room() }
