package store

import (
	"context"
	"fmt"
	"strings"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
	"scanrelay/store/index"
	"scanrelay/store/journal"
	"scanrelay/store/quarantine"
)

// View is what people ask of an outbox, open or not.
type View struct {
	journal    *journal.Journal
	index      *index.Index
	quarantine *quarantine.Quarantine
}

// Filter chooses records; its zero value is all of them.
type Filter struct {
	State   *State
	Waybill scan.WaybillID
}

func (f *Filter) matches(r *Record) bool {
	return (f.State == nil || r.State == *f.State) && (f.Waybill == "" || r.Event.Waybill == f.Waybill)
}

// scanChunk is how many pending events are listed at once while scanning.
const scanChunk = 500

// Scan gives every record that matches to fn, in sequence order but for those
// of long ago that were carried along. It is for people: it may read the whole
// store, and what changes meanwhile may be seen before or after. It ends with
// fn's or ctx's error.
func (v *View) Scan(ctx context.Context, f Filter, fn func(Record) error) (err error) {
	emit := func(records []Record) error {
		for _, r := range records {
			if f.matches(&r) {
				if err := fn(r); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	}
	switch {
	case f.Waybill != "":
		err = v.scanWaybill(f.Waybill, emit)
	case f.State != nil && *f.State == Dead:
		err = v.journal.ScanOnly(v.index.Dead(), emit)
	case f.State != nil && !f.State.Finished():
		err = v.scanPending(emit)
	default:
		err = v.journal.Scan(emit)
	}
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

func (v *View) scanWaybill(id scan.WaybillID, emit func([]Record) error) error {
	records, err := v.OfWaybills([]scan.WaybillID{id}, 1<<30)
	if err != nil {
		return err
	}
	seqs := make([]uint64, len(records))
	for i := range records {
		seqs[i] = records[i].ID.Seq
	}
	return v.journal.ScanOnly(seqs, emit)
}

func (v *View) scanPending(emit func([]Record) error) error {
	for next := uint64(0); ; {
		seqs := v.index.Pending(next, scanChunk)
		if len(seqs) == 0 {
			return nil
		}
		if err := v.journal.ScanOnly(seqs, emit); err != nil {
			return err
		}
		next = seqs[len(seqs)-1] + 1
	}
}

// OfWaybills returns all records of the waybills, synced or not, finished or
// not, in sequence order; of more than max the latest. Of a finished one it does
// not say how it ended: that takes reading the notes, as Scan does.
func (v *View) OfWaybills(ids []scan.WaybillID, max int) ([]Record, error) {
	return v.journal.OfWaybills(ids, max)
}

// Quarantine gives everything in quarantine to fn, oldest first.
func (v *View) Quarantine(ctx context.Context, fn func(Quarantined) error) error {
	if err := v.quarantine.Each(ctx, fn); err != nil {
		return fmt.Errorf("read quarantine: %w", err)
	}
	return nil
}

func (v *View) counts() Counts {
	q, x := v.quarantine.Counts(), v.index.Counts()
	st, totals := v.journal.State(), v.journal.Totals()
	c := Counts{
		Received: totals.Received, Duplicate: st.Duplicate, Ignored: st.Ignored,
		Rejected: q.Rejected, Requeued: totals.Requeued, State: totals.Outcome, Settled: totals.Settled,
		Quarantined: q.Kept, Forgotten: q.Forgotten,
		Watermark: x.Watermark, NextSeq: st.NextSeq, Epoch: st.EpochOf(st.NextSeq), Finished: v.index.Finished(), Damaged: strings.Join(st.Damage, "; "), NoRoom: st.NoRoom,
	}
	c.State[Unsynced] = uint64(x.Unsynced)
	c.State[AwaitingWaybill] = uint64(x.Waiting)
	c.State[ToPush] = uint64(x.Pending - x.Unsynced - x.Waiting)
	return c
}

// measure completes counts by what takes looking at files.
func (v *View) measure(c Counts) Counts {
	c.Oldest = v.index.Oldest()
	u := v.journal.Usage()
	c.LiveBytes, c.Unreserved, c.DeadBytes, c.Crowded = u.Live, u.Unreserved, u.Dead, u.Crowded
	c.FileBytes = u.Disk + durable.OnDisk(v.quarantine.Path())
	return c
}
