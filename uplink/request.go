package uplink

import (
	"fmt"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

// batch is one request and what it is made of.
type batch struct {
	req    syncapi.Request
	recs   []store.Record
	full   bool // there may be more unsynced events
	asks   []store.Record
	news   map[scan.WaybillID]binding
	decl   declaration
	counts store.Counts
}

// extras reports whether the batch holds anything beside events.
func (b *batch) extras() bool {
	return len(b.asks) > 0 || len(b.news) > 0 || len(b.req.Waiting) > 0
}

// epochText is an epoch on the wire.
func epochText(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// build gathers what there is to say.
func (s *syncer) build() (*batch, error) {
	b := &batch{counts: s.outbox.Counts()}
	b.req = s.header(b.counts.Epoch, b.counts)
	if !s.narrow.bare {
		if err := s.addEvents(b); err != nil {
			return nil, err
		}
		if !s.narrow.plain {
			s.addExtras(b)
		}
	}
	return b, nil
}

// header is a request without content.
func (s *syncer) header(epoch uint64, c store.Counts) syncapi.Request {
	return syncapi.Request{
		V: syncapi.Version, Agent: s.version, Epoch: epochText(epoch), NextSeq: c.NextSeq,
		BadToken: s.tokens.toReport(), Backlog: int64(c.State[store.ToPush]),
	}
}

// addEvents takes unsynced events of one epoch, in sequence order. None are
// taken while the clock is not believable.
func (s *syncer) addEvents(b *batch) error {
	if !s.clock.Believable() {
		return nil
	}
	limit := s.narrow.events()
	recs, err := s.outbox.Unsynced(limit, maxBytes)
	if err != nil {
		return fmt.Errorf("read unsynced events: %w", err)
	}
	s.oldest.Store(0)
	if len(recs) == 0 {
		return nil
	}
	s.oldest.Store(recs[0].Event.ReceivedAt.UnixNano())
	epoch := recs[0].ID.Epoch
	for i, r := range recs {
		if r.ID.Epoch != epoch {
			recs = recs[:i]
			break
		}
	}
	b.full, b.recs = uint64(len(recs)) < b.counts.State[store.Unsynced], recs
	b.req.Epoch, b.req.From = epochText(epoch), b.counts.Watermark+1
	b.req.Events = s.wire(recs)
	return nil
}

// wire puts records on the wire, each with whether it is muted here.
func (s *syncer) wire(recs []store.Record) []syncapi.Event {
	events := make([]syncapi.Event, len(recs))
	for i, r := range recs {
		events[i] = syncapi.FromEvent(r.ID.Seq, r.Event, s.gate.muted(r.Event.ActionType))
	}
	return events
}

// addExtras takes questions, bindings and declarations.
func (s *syncer) addExtras(b *batch) {
	share := s.narrow.share()
	b.asks = s.desk.takeAsks(share(maxAsk))
	for _, r := range b.asks {
		b.req.Ask = append(b.req.Ask, syncapi.Ask{
			Epoch: epochText(r.ID.Epoch), Seq: r.ID.Seq, EventID: r.Event.EventID, WaybillID: string(r.Event.Waybill),
		})
	}
	b.news = s.bindings.news(share(maxExtras))
	for id, v := range b.news {
		b.req.Bindings = append(b.req.Bindings, syncapi.Binding{
			WaybillID: string(id), Exist: v.exist, Age: int64(time.Since(v.at).Seconds()),
		})
	}
	b.decl = s.waits.declare(share(maxExtras))
	b.req.Waiting = b.decl.ids()
}
