package store

import (
	"fmt"

	"scanrelay/agent/scan"
)

// Waiters are the events that wait for waybill data. Synced and Park let them.
type Waiters struct{ o *Outbox }

// Waiting returns up to max events that wait for waybill data, in sequence order
// after the number given, with where they stand; none: there are no more.
func (w Waiters) Waiting(max int, after uint64) ([]Record, error) {
	for {
		seqs := w.o.index.Waiting(max, after)
		records, bad, err := w.o.journal.Records(seqs)
		if err != nil {
			return nil, fmt.Errorf("list waiting events: %w", err)
		}
		w.WakeEvents(bad...) // a lease finds that they cannot be read, and ends them
		if len(records) > 0 || len(seqs) == 0 {
			return records, nil
		}
		after = seqs[len(seqs)-1]
	}
}

// Wake gives the events of waybills that waited for data to the push relay.
func (w Waiters) Wake(ids ...scan.WaybillID) error { return w.o.index.Wake(ids...) }

// WakeEvents gives those of the events that wait for data to the push relay,
// whatever else of their waybill waits.
func (w Waiters) WakeEvents(seqs ...uint64) { w.o.index.WakeEvents(seqs...) }
