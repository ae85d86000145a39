package store

import (
	"os"
	"syscall"
	"time"

	"scanrelay/store/event"
)

// Counts returns the outbox at this moment.
func (o *Outbox) Counts() Counts {
	files, oldest := o.fileBytes(), o.oldest()
	q := o.quarantine.Counts()
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.index
	c := Counts{
		Received: o.totals.received, Duplicate: o.state.duplicate, Ignored: o.state.ignored,
		Rejected: q.Rejected, Requeued: o.totals.requeued,
		State: o.totals.outcome, Settled: o.totals.settled,
		Quarantined: q.Kept, Forgotten: q.Forgotten,
		Oldest: oldest, FileBytes: files, LiveBytes: o.liveBytes(),
		Full: !o.room.open(), Watermark: x.watermark,
		NextSeq: o.state.nextSeq, Epoch: o.state.epochOf(o.state.nextSeq), Damaged: o.state.damage,
	}
	c.State[event.Unsynced] = uint64(x.unsynced)
	c.State[event.AwaitingWaybill] = uint64(x.all.count[setWaiting])
	c.State[event.ToPush] = uint64(x.all.count[setPending] - x.unsynced - x.all.count[setWaiting])
	return c
}

// oldest returns when the first pending event was received; zero if none. One
// that is on disk only is read: once, as soon as its clock is known.
func (o *Outbox) oldest() time.Time {
	var seq uint64
	var ok, known bool
	var received uint32
	o.locked(func(x *index) {
		if seq, ok = x.all.next(anyPending, 0); !ok {
			return
		}
		if e := x.get(seq); e != nil {
			received, known = e.received, true
		} else if x.oldest.seq == seq {
			received, known = x.oldest.received, true
		}
	})
	if ok && !known {
		first := o.unreadableEntry(seq)
		list, _, err := o.readEntries([]uint64{seq})
		if len(list) == 1 {
			first = list[0]
		}
		received = first.received
		if err == nil && first.flags&entryClockless == 0 { // else it is provisional
			o.locked(func(x *index) { x.oldest = first })
		}
	}
	if !ok {
		return time.Time{}
	}
	return time.Unix(int64(received), 0).UTC()
}

// fileBytes is what all files take on disk.
func (o *Outbox) fileBytes() (n int64) {
	paths := []string{o.quarantine.Path()}
	for _, s := range o.journal.list() {
		paths = append(paths, s.path, registerPath(s.path))
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += int64(st.Blocks) * 512
			}
		}
	}
	return n
}

// liveBytes is what the segments hold that could not be dropped now, about. mu
// is held.
func (o *Outbox) liveBytes() (n int64) {
	now := o.opts.Now()
	newest := o.journal.newest()
	for _, s := range o.journal.list() {
		if s.open > 0 || s == newest || now.Sub(s.finished) <= o.opts.Retain {
			n += s.usedBytes
		}
	}
	return n
}
