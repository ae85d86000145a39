package sync

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
)

// Bounds of one call.
const (
	maxBatch  = 1000    // events
	maxBytes  = 1 << 20 // of them, about
	maxAsk    = 500
	maxExtras = 2000 // bindings and declarations each
)

// batch is one request and what it is made of.
type batch struct {
	req         syncapi.Request
	recs        []event.Record
	full        bool // there may be more unsynced events
	asks        []event.Record
	news        map[scan.WaybillID]shared.Binding
	declaration declaration
	counts      event.Counts
}

// extras reports whether the batch holds anything beside events.
func (b *batch) extras() bool {
	return len(b.asks) > 0 || len(b.news) > 0 || len(b.req.Waiting) > 0
}

// build gathers what there is to say.
func (s *Relay) build() (*batch, error) {
	b := &batch{}
	if !s.narrow.bare {
		if err := s.readEvents(b); err != nil {
			return nil, err
		}
	}
	// The counts come after the events: what is stored meanwhile is below next_seq.
	b.counts = s.Outbox.Counts()
	b.req = s.header(b.counts.Epoch, b.counts)
	if len(b.recs) > 0 {
		b.full = uint64(len(b.recs)) < b.counts.State[event.Unsynced]
		b.req.Epoch, b.req.From = syncapi.FormatEpoch(b.recs[0].ID.Epoch), s.buried.had(b.counts.Watermark)+1
		b.req.Events = s.wire(b.recs)
	}
	if !s.narrow.bare && !s.narrow.plain {
		s.addExtras(b)
	}
	return b, nil
}

// header is a request without content.
func (s *Relay) header(epoch uint64, c event.Counts) syncapi.Request {
	req := syncapi.Request{
		V: syncapi.Version, Agent: s.Version, Epoch: syncapi.FormatEpoch(epoch), NextSeq: c.NextSeq,
		BadToken: s.Valve.BadToken(), Backlog: int64(c.State[event.ToPush]),
		OSArch: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if c.Damaged == "" { // else events may only be gone
		req.Finished = c.Finished
	}
	if s.Health != nil {
		req.Health = s.Health()
	}
	if s.Orders != nil {
		s.Orders.Tell(&req)
	}
	if s.Fleet != nil {
		s.Fleet.Tell(&req)
	}
	if generation, age := s.Valve.Accepted(); generation != "" {
		req.Accepted = &syncapi.Accepted{Generation: generation, Age: int64(age.Seconds())}
	}
	return req
}

// readEvents takes unsynced events of one epoch, in sequence order. None are
// taken while the clock is not believable.
func (s *Relay) readEvents(b *batch) error {
	if !s.Clock.Believable() {
		return nil
	}
	recs, err := s.Outbox.Unsynced(s.narrow.events(), maxBytes)
	if err != nil {
		return fmt.Errorf("read unsynced events: %w", err)
	}
	s.oldest.Store(0)
	if len(recs) == 0 {
		return nil
	}
	s.oldest.Store(recs[0].Event.ReceivedAt.UnixNano())
	epoch := recs[0].ID.Epoch
	if i := slices.IndexFunc(recs, func(r event.Record) bool { return r.ID.Epoch != epoch }); i > 0 {
		recs = recs[:i]
	}
	b.recs = recs
	return nil
}

// wire puts records on the wire, each with whether it is muted here.
func (s *Relay) wire(recs []event.Record) []syncapi.Event {
	events := make([]syncapi.Event, len(recs))
	for i, r := range recs {
		events[i] = syncapi.FromEvent(r.ID.Seq, r.Event, s.Gate.Muted(r.Event.ActionType))
	}
	return events
}

// addExtras takes questions, bindings and declarations.
func (s *Relay) addExtras(b *batch) {
	b.asks = s.Questions.TakeAsks(s.narrow.share(maxAsk))
	for _, r := range b.asks {
		b.req.Ask = append(b.req.Ask, syncapi.Ask{
			Epoch: syncapi.FormatEpoch(r.ID.Epoch), Seq: r.ID.Seq, EventID: r.Event.EventID, WaybillID: r.Event.Waybill,
		})
	}
	b.news = s.Bindings.News(s.narrow.share(maxExtras))
	for id, v := range b.news {
		b.req.Bindings = append(b.req.Bindings, syncapi.Binding{
			WaybillID: id, Exist: v.Exist, Age: int64(time.Since(v.At).Seconds()),
		})
	}
	b.declaration = s.declarations.next(s.narrow.share(maxExtras))
	b.req.Waiting = slices.Concat(b.declaration.fresh, b.declaration.page)
}
