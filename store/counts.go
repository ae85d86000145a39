package store

import (
	"os"
	"syscall"
)

// Counts returns the outbox at this moment.
func (o *Outbox) Counts() Counts {
	files := o.fileBytes()
	q := o.suspect.counts()
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.index
	c := Counts{
		Received: o.totals.received, Duplicate: o.state.duplicate, Ignored: o.state.ignored,
		Rejected: q.next - 1, Requeued: o.totals.requeued,
		State: o.totals.outcome, Settled: o.totals.settled,
		Quarantined: uint64(q.count), Forgotten: q.forgotten,
		Oldest: x.oldest(), FileBytes: files, LiveBytes: o.liveBytes(),
		Full: !o.room.open(), Watermark: x.watermark,
		NextSeq: o.state.nextSeq, Epoch: o.state.epochOf(o.state.nextSeq), Damaged: o.state.damage,
	}
	c.State[Unsynced] = uint64(x.unsynced)
	c.State[AwaitingWaybill] = uint64(x.awaiting)
	c.State[ToPush] = uint64(x.n - x.unsynced - x.awaiting)
	return c
}

// fileBytes is what all files take on disk.
func (o *Outbox) fileBytes() (n int64) {
	paths := []string{o.suspect.path}
	for _, s := range o.journal.list() {
		paths = append(paths, s.path)
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
	for _, s := range o.journal.list() {
		if s.open > 0 || !s.sealed || now.Sub(s.finished) <= o.opts.Retain {
			n += s.usedBytes
		}
	}
	return n
}
