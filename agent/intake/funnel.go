package intake

import (
	"sync/atomic"
	"time"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

// funnel is what Source and Broker have in common: message in, batch to the
// Journal.
type funnel struct {
	mapper  *mapping.Mapper
	journal Journal
	dedupe  atomic.Pointer[dedupe] // nil: off
	serial  atomic.Uint64
	ears    ears
}

func newFunnel(m *mapping.Mapper, j Journal, window time.Duration) *funnel {
	f := &funnel{mapper: m, journal: j}
	f.setWindow(window)
	return f
}

func (f *funnel) setWindow(window time.Duration) {
	if before := f.dedupe.Load(); before != nil && before.window == window {
		return
	}
	var d *dedupe
	if window > 0 {
		d = newDedupe(window)
	}
	f.dedupe.Store(d)
}

// update puts other rules and another dedupe window in place.
func (f *funnel) update(rules *mapping.Rules, window time.Duration) {
	f.mapper.Update(rules)
	f.setWindow(window)
}

// take maps a message that has just come.
func (f *funnel) take(h Heard) scan.Batch {
	h.ReceivedAt = f.mapper.Now()
	f.ears.hear(h)
	info := h.Info()
	info.Serial = f.serial.Add(1)
	return f.mapper.Map(h.Topic, h.Payload, info)
}

// submit gives a batch to the Journal, under its rules.
func (f *funnel) submit(topic string, b scan.Batch, done func(scan.Stored, error)) error {
	if d := f.dedupe.Load(); d != nil {
		return d.submit(f.journal, topic, b, done)
	}
	return f.journal.Submit(b, done)
}

// full reports whether the Journal has no room now.
func (f *funnel) full() bool {
	select {
	case <-f.journal.Room():
		return false
	default:
		return true
	}
}

// eventCost is about what one event takes in memory, beside the texts that the
// payload holds as well.
const eventCost = 600

// cost is about what a batch takes in memory until it is committed, in bytes.
func cost(payload []byte, b scan.Batch) int64 {
	n := int64(len(payload)) + eventCost*int64(1+len(b.Events)+len(b.Rejects))
	for _, r := range b.Rejects {
		n += int64(len(r.Payload))
	}
	return n
}
