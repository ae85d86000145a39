package uplink

import (
	"sync"

	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

// desk is where the push relay leaves its questions to the centre and finds the
// answers. It is safe for concurrent use.
type desk struct {
	mu      sync.Mutex
	asks    []store.Record // whose answer grew old
	resyncs []store.Record // whose waybill WeChat and the centre disagree about
	replies []verdictOfCentre
	asked   chan struct{} // cap 1: there is something for the centre at once
	replied chan struct{} // cap 1: there are replies
}

// verdictOfCentre is what came of a question. err is set where the centre could not
// be asked.
type verdictOfCentre struct {
	seq      uint64
	result   syncapi.Result
	reason   string
	resynced bool // the waybill's nodes were acknowledged anew
	err      error
}

func newDesk() *desk {
	return &desk{asked: make(chan struct{}, 1), replied: make(chan struct{}, 1)}
}

// poke makes sure that a channel of capacity 1 has something to receive.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// nudge asks for a sync at once.
func (d *desk) nudge() { poke(d.asked) }

func (d *desk) ask(r store.Record) {
	d.mu.Lock()
	d.asks = append(d.asks, r)
	d.mu.Unlock()
	d.nudge()
}

func (d *desk) resync(r store.Record) {
	d.mu.Lock()
	d.resyncs = append(d.resyncs, r)
	d.mu.Unlock()
	d.nudge()
}

// takeAsks takes up to n questions.
func (d *desk) takeAsks(n int) []store.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return takeFront(&d.asks, n)
}

// takeResyncs takes up to n records whose waybills are to be sent again.
func (d *desk) takeResyncs(n int) []store.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return takeFront(&d.resyncs, n)
}

func takeFront(from *[]store.Record, n int) []store.Record {
	n = min(n, len(*from))
	taken := (*from)[:n:n]
	if *from = (*from)[n:]; len(*from) == 0 {
		*from = nil
	}
	return taken
}

// waiting reports whether questions wait for the centre.
func (d *desk) waiting() (asks, resyncs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asks) > 0, len(d.resyncs) > 0
}

func (d *desk) reply(r ...verdictOfCentre) {
	if len(r) == 0 {
		return
	}
	d.mu.Lock()
	d.replies = append(d.replies, r...)
	d.mu.Unlock()
	poke(d.replied)
}

// fail replies to questions that could not be put.
func (d *desk) fail(recs []store.Record, err error) {
	for _, r := range recs {
		d.reply(verdictOfCentre{seq: r.ID.Seq, err: err})
	}
}

func (d *desk) takeReplies() []verdictOfCentre {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.replies
	d.replies = nil
	return r
}
