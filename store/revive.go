package store

import (
	"cmp"
	"context"
	"fmt"

	"scanrelay/store/event"
)

// revive puts those dead letters back that an earlier process could not read, now
// that this start could. The centre may never have had them: the watermark falls
// before the first one, and it is sent again what it has, which changes nothing.
func (o *Outbox) revive() error {
	// Some were not tried while they could not be read, but passed over.
	lowest := o.journal.FirstFoundAgain()
	var ids []ID
	err := o.journal.ScanOnly(o.journal.FoundAgain(o.index.Dead()), func(records []Record) error {
		for i := range records {
			if r := &records[i]; r.State == Dead && r.Last.Reason == event.ReasonUnread && r.Event.EventID != "" {
				ids = append(ids, r.ID)
				lowest = min(cmp.Or(lowest, r.ID.Seq), r.ID.Seq)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for events that can be read again: %w", err)
	}
	if lowest == 0 {
		return nil
	}
	if err := o.Rewind(lowest - 1); err != nil {
		return err
	}
	n, err := o.Requeue(context.Background(), ids...)
	if err != nil {
		return fmt.Errorf("put back what can be read again: %w", err)
	}
	o.opts.Logger.Warn("events that could not be read before are put back", "count", n)
	return nil
}
