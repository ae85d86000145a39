package intake

import (
	"errors"
	"sync"
	"time"

	"scanrelay/agent/scan"
)

// dedupe makes repeated reads of one code by one device one scan: within the
// window of the first, by the device's own time where it sent one, else by the
// time of arrival. A device without a name is its topic.
//
// A repeated read is left out and its message acknowledged only if the first
// one was committed: while that is open, the outcome of the first is the outcome
// of the second too.
type dedupe struct {
	window time.Duration

	mu    sync.Mutex
	seen  map[readKey]*firstRead // guarded by mu
	order []*firstRead           // by arrival; guarded by mu
}

type readKey struct {
	device  string
	waybill scan.WaybillID
	action  scan.ActionType
}

// firstRead is a read that others may repeat.
type firstRead struct {
	key     readKey
	event   scan.Event
	settled bool // its commit has ended
	failed  bool // and failed
}

// Bounds of what dedupe remembers.
const (
	maxFirstReads = 65536
	dedupeSlack   = time.Minute // reads come later than they were made
)

var errFirstFailed = errors.New("the read that this one repeats was not committed")

func newDedupe(window time.Duration) *dedupe {
	return &dedupe{window: window, seen: make(map[readKey]*firstRead)}
}

// submit leaves repeated reads out of b and gives the rest to the outbox. The
// lock is held meanwhile, so that the outbox's order is the order in which
// reads were compared; Submit returns at once.
func (d *dedupe) submit(o Outbox, topic string, b scan.Batch, done func(scan.Stored, error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := b
	out.Events = make([]scan.Event, 0, len(b.Events))
	var mine, others []*firstRead
	for _, ev := range b.Events {
		key := readKey{topic, ev.Waybill, ev.ActionType}
		if ev.DeviceID != "" {
			key.device = "device " + ev.DeviceID
		}
		if first, ok := d.seen[key]; ok && d.repeats(&first.event, &ev) {
			out.Repeated++
			if !first.settled {
				others = append(others, first)
			}
			continue
		}
		first := &firstRead{key: key, event: ev}
		mine = append(mine, first)
		d.seen[key] = first
		out.Events = append(out.Events, ev)
	}
	err := o.Submit(out, func(st scan.Stored, err error) {
		if failed := d.settle(mine, others, err); failed && err == nil {
			err = errFirstFailed
		}
		done(st, err)
	})
	if err != nil {
		d.drop(mine)
		return err
	}
	d.order = append(d.order, mine...)
	d.forget(b)
	return nil
}

// repeats reports whether b is the same read as a. The same event delivered
// again is left to the outbox, which knows what it has.
func (d *dedupe) repeats(a, b *scan.Event) bool {
	if a.EventID == b.EventID {
		return false
	}
	if a.Marks.Has(scan.MarkClock) || b.Marks.Has(scan.MarkClock) {
		return b.ReceivedAt.Sub(a.ReceivedAt).Abs() <= d.window
	}
	return time.Duration(b.ActionTime-a.ActionTime).Abs() <= d.window/time.Second
}

// settle notes how the commit of reads ended, and reports whether one that
// others of the same batch repeat failed.
func (d *dedupe) settle(mine, others []*firstRead, err error) (failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, first := range mine {
		first.settled, first.failed = true, err != nil
	}
	if err != nil {
		d.drop(mine)
	}
	for _, first := range others {
		failed = failed || first.failed
	}
	return failed
}

// drop forgets reads that were not committed.
func (d *dedupe) drop(reads []*firstRead) {
	for _, first := range reads {
		if d.seen[first.key] == first {
			delete(d.seen, first.key)
		}
	}
}

// forget drops what no read to come can repeat, and what is too much.
func (d *dedupe) forget(b scan.Batch) {
	if len(b.Events) == 0 {
		return
	}
	now := b.Events[0].ReceivedAt
	n := 0
	for n < len(d.order) && (len(d.order)-n > maxFirstReads ||
		now.Sub(d.order[n].event.ReceivedAt) > d.window+dedupeSlack) {
		n++
	}
	d.drop(d.order[:n])
	clear(d.order[:n])
	d.order = d.order[n:]
}
