package intake

import (
	"errors"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
)

// dedupe makes repeated reads of one code by one device one scan, unless the device
// gives its reads ids of its own: those within the window of an earlier one, by the
// device's time where it sent one, else by the time of arrival. Each repeat extends
// the window, so that what stays before a reader stays one scan. A device without
// a name is its topic. Of sources with on_change a code is the same scan for as long
// as each message of the device holds it, however long that is.
//
// A repeated read is left out and its message acknowledged only if the first
// one was committed: while that is open, the outcome of the first is the outcome
// of the second too.
type dedupe struct {
	mu     sync.Mutex
	window time.Duration                      // 0: off; guarded by mu
	seen   map[readKey]*firstRead             // guarded by mu
	order  []*firstRead                       // the next to be forgotten first; guarded by mu
	held   map[string]map[string][]*firstRead // of on_change, by topic and device; guarded by mu
}

type readKey struct {
	device  string
	waybill scan.WaybillID
	action  scan.ActionType
}

// firstRead is a read that others may repeat.
type firstRead struct {
	key      readKey
	id       string
	noTime   bool      // the device sent no time
	from, to int64     // its times and those of its repeats, unix seconds
	came     time.Time // when it came
	last     time.Time // when its last repeat did
	queued   time.Time // its place in order
	topic    string    // on_change: whose last message of this device holds it; "": none
	settled  bool      // its commit has ended
	failed   bool      // and failed
}

// Bounds of what dedupe remembers.
const (
	maxFirstReads = 65536
	dedupeSlack   = time.Minute // reads come later than they were made
	maxAgain      = 64          // how many forget keeps at once
)

var errFirstFailed = errors.New("the read that this one repeats was not committed")

func newDedupe(window time.Duration) *dedupe {
	return &dedupe{window: window, seen: make(map[readKey]*firstRead), held: make(map[string]map[string][]*firstRead)}
}

func (d *dedupe) setWindow(window time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.window = window
}

// submit leaves repeated reads out of b and gives the rest to the outbox. The
// lock is held meanwhile, so that the outbox's order is the order in which
// reads were compared; Submit returns at once.
func (d *dedupe) submit(o Outbox, topic string, b scan.Batch, done func(scan.Stored, error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.window == 0 && !b.OnChange {
		return o.Submit(b, done)
	}
	out := b
	out.Events = make([]scan.Event, 0, len(b.Events))
	var mine, others, now []*firstRead
	for i := range b.Events {
		ev := &b.Events[i]
		key := keyOf(topic, ev)
		first, ok := d.seen[key]
		if ok && d.repeats(first, ev) {
			first.extend(ev)
			out.Repeated++
			if !first.settled {
				others = append(others, first)
			}
			now = append(now, first)
			continue
		}
		if !ok || first.id != ev.EventID { // else it comes again, which is the outbox's to know
			first = newFirst(key, ev)
			mine = append(mine, first)
			d.seen[key] = first
		}
		now = append(now, first)
		out.Events = append(out.Events, *ev)
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
	if b.OnChange {
		d.hold(topic, now)
	}
	d.forget(b)
	return nil
}

func keyOf(topic string, ev *scan.Event) readKey {
	if ev.DeviceID != "" {
		topic = "device " + ev.DeviceID
	}
	return readKey{topic, ev.Waybill, ev.ActionType}
}

func newFirst(key readKey, ev *scan.Event) *firstRead {
	return &firstRead{
		key: key, id: ev.EventID, noTime: ev.Marks.Has(scan.MarkClock), from: ev.ActionTime, to: ev.ActionTime,
		came: ev.ReceivedAt, last: ev.ReceivedAt, queued: ev.ReceivedAt,
	}
}

func (f *firstRead) extend(ev *scan.Event) {
	f.from, f.to, f.last = min(f.from, ev.ActionTime), max(f.to, ev.ActionTime), ev.ReceivedAt
}

// repeats reports whether an event is a read as the first one. The same event
// delivered again is left to the outbox, which knows what it has.
func (d *dedupe) repeats(f *firstRead, ev *scan.Event) bool {
	switch {
	case f.id == ev.EventID:
		return false
	case f.topic != "":
		return true
	case d.window == 0 || !ev.Marks.Has(scan.MarkDerivedID):
		return false
	case f.noTime || ev.Marks.Has(scan.MarkClock):
		return !ev.ReceivedAt.Before(f.came.Add(-d.window)) && !ev.ReceivedAt.After(f.last.Add(d.window))
	}
	window := int64(d.window / time.Second)
	return ev.ActionTime >= f.from-window && ev.ActionTime <= f.to+window
}

// hold notes what a message of a source with on_change holds, and lets go of what
// its devices hold no more; a message without a code is one of all devices of its
// topic.
func (d *dedupe) hold(topic string, now []*firstRead) {
	if len(now) == 0 {
		for _, reads := range d.held[topic] {
			d.letGo(reads...)
		}
	}
	for _, f := range now {
		d.letGo(d.held[topic][f.key.device]...)
	}
	for _, f := range now {
		d.letGo(f)
		devices := d.held[topic]
		if devices == nil {
			devices = make(map[string][]*firstRead)
			d.held[topic] = devices
		}
		devices[f.key.device] = append(devices[f.key.device], f)
		f.topic = topic
	}
}

func (d *dedupe) letGo(reads ...*firstRead) {
	for _, f := range slices.Clone(reads) {
		devices, ok := d.held[f.topic]
		if !ok {
			continue
		}
		rest := slices.DeleteFunc(devices[f.key.device], func(g *firstRead) bool { return g == f })
		if devices[f.key.device] = rest; len(rest) == 0 {
			delete(devices, f.key.device)
		}
		if len(devices) == 0 {
			delete(d.held, f.topic)
		}
		f.topic = ""
	}
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

// drop forgets reads that were not committed, or that nothing can repeat any more.
func (d *dedupe) drop(reads []*firstRead) {
	for _, f := range reads {
		d.letGo(f)
		if d.seen[f.key] == f {
			delete(d.seen, f.key)
		}
	}
}

// forget drops what no read to come can repeat, and what is too much. What was
// repeated since it was queued, or is held, goes behind the others once more.
func (d *dedupe) forget(b scan.Batch) {
	if len(b.Events) == 0 {
		return
	}
	now := b.Events[0].ReceivedAt
	for again := 0; len(d.order) > 0; {
		f := d.order[0]
		if len(d.order) <= maxFirstReads && now.Sub(f.queued) <= d.window+dedupeSlack {
			return
		}
		d.order[0], d.order = nil, d.order[1:]
		switch {
		case d.seen[f.key] != f: // another one took its place
		case again < maxAgain && (f.last.After(f.queued) || f.topic != ""):
			again++
			if f.queued = f.last; f.topic != "" {
				f.queued = now
			}
			d.order = append(d.order, f)
		default:
			d.drop([]*firstRead{f})
		}
	}
}
