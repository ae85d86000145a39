package uplink

import (
	"errors"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

// admit takes leased records through the gate as far as it needs no call:
// muted, expired, superseded; then awaiting_waybill, for which the centre is
// asked where its answer is not fresh.
func (p *pusher) admit(recs []store.Record) {
	now, leased := p.clock.Now(), time.Now()
	var ended []ending
	for _, r := range recs {
		s, over := p.gate.first(r, false, now)
		if !over {
			s, over = p.gate.stale(r, now)
		}
		if over {
			ended = append(ended, ending{r, s})
			p.left.count(leased)
			continue
		}
		p.consult(r, leased)
	}
	p.end(ended...)
}

// consult looks whether the centre's answer about the record may be used.
func (p *pusher) consult(r store.Record, leased time.Time) {
	it := item{rec: r, leased: leased}
	switch data, advice := p.answers.about(r); advice {
	case advisePush:
		it.data, it.since = data, time.Now()
		p.ready = append(p.ready, it)
	case adviseAsk:
		p.asking[r.ID.Seq] = it
		p.meters.asks.Inc()
		p.desk.ask(r)
	case adviseResync:
		p.asking[r.ID.Seq] = it
		p.desk.resync(r)
	}
}

// takeReplies goes on with the records that the centre was asked about.
func (p *pusher) takeReplies() {
	for _, v := range p.desk.takeReplies() {
		it, ok := p.asking[v.seq]
		if !ok {
			continue
		}
		delete(p.asking, v.seq)
		p.takeReply(it, v)
	}
}

func (p *pusher) takeReply(it item, v verdictOfCentre) {
	r := it.rec
	if v.err != nil {
		p.release(again(r, p.clock.Now().Add(time.Second+wait.UpTo(4*time.Second))))
		return
	}
	switch v.result {
	case syncapi.Duplicate:
		p.end(ending{r, end(r, store.Superseded, reasonDuplicate)})
		return
	case syncapi.Refused:
		p.end(ending{r, end(r, store.Dead, refusedReason(v.reason))})
		return
	case syncapi.Conflict, syncapi.Unknown:
		p.unknown(it, v)
		return
	}
	if s, over := p.gate.first(r, v.result == syncapi.Late, p.clock.Now()); over {
		p.end(ending{r, s})
		return
	}
	data, advice := p.answers.about(r)
	switch {
	case v.result == syncapi.Taken && advice == advisePush:
		it.data, it.since = data, time.Now()
		p.ready = append(p.ready, it)
	case v.result == syncapi.Taken && advice == adviseResync && !v.resynced:
		p.asking[r.ID.Seq] = it
		p.desk.resync(r)
	default: // no waybill data
		p.park(r)
	}
}

// unknown handles a record that the centre does not have: its waybill is sent
// again, once; what is unknown after that is on its way with the next batches.
func (p *pusher) unknown(it item, v verdictOfCentre) {
	if v.resynced {
		p.release(again(it.rec, p.clock.Now().Add(wait.Jitter(4, time.Second, syncCap))))
		return
	}
	p.asking[it.rec.ID.Seq] = it
	p.desk.resync(it.rec)
}

// park gives a record back until its waybill's data comes.
func (p *pusher) park(r store.Record) {
	if err := p.outbox.Park(r); err != nil && !errors.Is(err, store.ErrNotLeased) {
		p.log.Error("park event without waybill data", "id", r.ID.String(), "error", err)
	}
	p.left.count(time.Now())
	// Declared after it is parked: if the data came in between, the centre
	// answers the declaration with ready.
	p.waits.parked(r.Event.Waybill)
}

// release gives leases back. Where that fails they end by themselves.
func (p *pusher) release(r store.Retry) {
	if err := p.outbox.Release(r); err != nil && !errors.Is(err, store.ErrNotLeased) {
		p.log.Error("release event", "seq", r.Seq, "error", err)
	}
}
