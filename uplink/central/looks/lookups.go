package looks

import (
	"container/list"
	"sync"
	"time"

	"scanrelay/agent/scan"
)

// Bounds of what is remembered of lookups.
const (
	maxLookups  = 8       // of one waybill, the last ones
	maxWaybills = 100_000 // those that were looked up last
)

// Lookup is one that was answered.
type Lookup struct {
	Time   time.Time `json:"time"`
	Result string    `json:"result"` // ok, no_waybill, wrong_phone, try_again
}

// Lookups remember what reverse lookups were answered, since this process started. The
// zero value is ready.
type Lookups struct {
	mu    sync.Mutex                       // guards what follows
	of    map[scan.WaybillID]*list.Element // of *looked
	order list.List                        // the one looked up last in front
}

type looked struct {
	id   scan.WaybillID
	last []Lookup
}

// Note remembers one.
func (l *Lookups) Note(id scan.WaybillID, at time.Time, result string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[scan.WaybillID]*list.Element{}
	}
	e, ok := l.of[id]
	if !ok {
		if l.order.Len() >= maxWaybills {
			delete(l.of, l.order.Remove(l.order.Back()).(*looked).id)
		}
		e = l.order.PushFront(&looked{id: id})
		l.of[id] = e
	}
	l.order.MoveToFront(e)
	k := e.Value.(*looked)
	k.last = append(k.last, Lookup{at.UTC().Truncate(time.Second), result})
	if extra := len(k.last) - maxLookups; extra > 0 {
		k.last = append(k.last[:0], k.last[extra:]...)
	}
}

// Of are those of a waybill, the last ones.
func (l *Lookups) Of(id scan.WaybillID) []Lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.of[id]
	if !ok {
		return []Lookup{}
	}
	return append([]Lookup{}, e.Value.(*looked).last...)
}
