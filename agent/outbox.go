package agent

import (
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/intake"
	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/store"
)

// meteredOutbox is the outbox as intake sees it; what was rejected is counted by
// reason, the log names the topics whose messages have no waybill number, and the
// hook hears what was stored.
type meteredOutbox struct {
	outbox   *store.Outbox
	set      *metrics.Set
	onStored func(scan.Batch, scan.Stored)
	unmapped *limit.Log
}

var _ intake.Outbox = (*meteredOutbox)(nil)

// Submit implements intake.Outbox.
func (m *meteredOutbox) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	if len(b.Rejects) == 0 && m.onStored == nil && !slices.ContainsFunc(b.Events, marked) {
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
		tell(m.unmapped, r)
	}
	for i := range b.Events {
		for mark, name := range marks {
			if b.Events[i].Marks.Has(mark) {
				m.set.GetOrCreateCounter(`scanrelay_events_marked_total{mark="` + name + `"}`).Inc()
			}
		}
	}
	if m.onStored != nil {
		m.onStored(b, s)
	}
}

// marks are what intake changes in an event and is worth a count.
var marks = map[scan.Marks]string{
	scan.MarkClock: "clock", scan.MarkCut: "cut", scan.MarkWaybillDropped: "waybill_dropped", scan.MarkMended: "mended",
}

func marked(e scan.Event) bool { return e.Marks&^scan.MarkDerivedID != 0 }

const (
	tellAgain   = time.Hour
	maxUnmapped = 1000 // topics that are told apart
)

// tell names in the log, once an hour each, the topics on which messages come that
// have no waybill number where it is looked for: either the mapping is wrong and scans
// pile up in quarantine, or they are heartbeats that nobody needs there.
func tell(log *limit.Log, r scan.Reject) {
	if r.Code == scan.NoWaybill {
		log.WarnOf(r.Topic, "a message without a waybill number is kept in quarantine; is it a scan?", func() []any {
			return []any{"topic", scan.MaskPayload(r.Topic), "reason", scan.MaskPayload(r.Reason)}
		})
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
