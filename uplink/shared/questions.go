package shared

import (
	"sync"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/uplink/syncapi"
)

// maxDeclared bounds the waybills to be declared that are kept one by one.
const maxDeclared = 4 * syncapi.MaxWaiting

// Questions is where the push relay leaves its questions to the centre and finds
// what came of them.
type Questions struct {
	mu       sync.Mutex
	asks     []event.Record   // whose answer grew old
	resyncs  []event.Record   // whose waybill WeChat and the centre disagree about
	declare  []scan.WaybillID // that wait for data
	overflow bool             // there were more than declare holds
	results  []Resolution
	asked    chan struct{} // cap 1: there is something for the centre at once
	resolved chan struct{} // cap 1: some are resolved
}

// Resolution is what came of a question. Err is set where the centre could not be
// asked.
type Resolution struct {
	Seq      uint64
	Result   syncapi.Result
	Reason   string
	Resynced bool // the waybill's nodes were acknowledged anew
	Err      error
}

// NewQuestions makes one without questions.
func NewQuestions() *Questions {
	return &Questions{asked: make(chan struct{}, 1), resolved: make(chan struct{}, 1)}
}

// Nudge asks for a sync at once.
func (q *Questions) Nudge() { wait.Signal(q.asked) }

// Asked receives when there is something for the centre at once.
func (q *Questions) Asked() <-chan struct{} { return q.asked }

// Ask asks for a record's answer anew.
func (q *Questions) Ask(r event.Record) { q.add(&q.asks, r) }

// Resync asks for all nodes of a record's waybill to be sent again.
func (q *Questions) Resync(r event.Record) { q.add(&q.resyncs, r) }

func (q *Questions) add(to *[]event.Record, r event.Record) {
	q.mu.Lock()
	*to = append(*to, r)
	q.mu.Unlock()
	q.Nudge()
}

// Declare tells the centre, soon, that a waybill waits for data.
func (q *Questions) Declare(id scan.WaybillID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.declare) >= maxDeclared {
		q.declare, q.overflow = nil, true
		return
	}
	q.declare = append(q.declare, id)
}

// TakeAsks takes up to n records to ask about.
func (q *Questions) TakeAsks(n int) []event.Record { return take(q, &q.asks, n) }

// TakeResyncs takes up to n records whose waybills are to be sent again.
func (q *Questions) TakeResyncs(n int) []event.Record { return take(q, &q.resyncs, n) }

// TakeDeclared takes up to n waybills to declare. overflow is true once when some
// were dropped: then everything that waits is to be declared.
func (q *Questions) TakeDeclared(n int) (ids []scan.WaybillID, overflow bool) {
	ids = take(q, &q.declare, n)
	q.mu.Lock()
	defer q.mu.Unlock()
	overflow, q.overflow = q.overflow, false
	return ids, overflow
}

// take takes the first of a list of q, at most n.
func take[T any](q *Questions, from *[]T, n int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(*from))
	taken := (*from)[:n:n]
	if *from = (*from)[n:]; len(*from) == 0 {
		*from = nil
	}
	return taken
}

// Undeclared gives back what the centre did not hear.
func (q *Questions) Undeclared(ids []scan.WaybillID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.declare = append(ids, q.declare...)
}

// Waiting reports what waits for the centre.
func (q *Questions) Waiting() (asks, resyncs, declarations bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.asks) > 0, len(q.resyncs) > 0, len(q.declare) > 0 || q.overflow
}

// Resolve answers questions.
func (q *Questions) Resolve(r ...Resolution) {
	if len(r) == 0 {
		return
	}
	q.mu.Lock()
	q.results = append(q.results, r...)
	q.mu.Unlock()
	wait.Signal(q.resolved)
}

// Fail answers questions that could not be put.
func (q *Questions) Fail(recs []event.Record, err error) {
	for _, r := range recs {
		q.Resolve(Resolution{Seq: r.ID.Seq, Err: err})
	}
}

// Resolved receives when questions are resolved.
func (q *Questions) Resolved() <-chan struct{} { return q.resolved }

// TakeResolved takes what came of questions.
func (q *Questions) TakeResolved() []Resolution {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.results
	q.results = nil
	return r
}
