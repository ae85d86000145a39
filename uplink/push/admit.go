package push

import (
	"errors"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
)

// unknownRest bounds the pause before the centre is asked again about a record
// that it does not have although its waybill was sent again.
const unknownRest = 16 * time.Second

// admit takes leased records through the gate as far as it needs no call:
// muted, expired, superseded; then awaiting_waybill, for which the centre is
// asked where its answer is not fresh.
func (d *dispatcher) admit(recs []event.Record) {
	now, leased := d.Today(), time.Now()
	var ended []policy.Ending
	for _, r := range recs {
		e, over := d.Gate.Ends(r, false, now)
		if !over {
			e, over = d.stale(r, now)
		}
		if over {
			ended = append(ended, e)
			d.left.Count(leased)
			continue
		}
		d.consult(r, leased)
	}
	d.ends(ended...)
}

// ends commits what the gate ended, which a full store may hold up for long.
func (d *dispatcher) ends(ended ...policy.Ending) {
	d.Pulse.End()
	defer d.Pulse.Begin()
	d.end(ended...)
}

// stale asks the outbox for newer nodes of a record that is not fresh any more.
// Where that cannot be read the node is pushed rather than dropped.
func (d *dispatcher) stale(r event.Record, now time.Time) (e policy.Ending, over bool) {
	if d.Gate.Fresh(r, now) {
		return e, false
	}
	newest, known, err := d.Outbox.Newer(r.Event.Waybill, r.ID.Seq)
	if err != nil || !known {
		return e, false
	}
	if newest > r.Event.ActionTime && len(d.Gate.Actions) > 0 { // it may be muted
		all, err := d.Outbox.OfWaybills([]scan.WaybillID{r.Event.Waybill}, policy.MaxPath)
		if err != nil {
			return e, false
		}
		newest = d.Gate.Newest(r, all)
	}
	return d.Gate.Stale(r, newest, now)
}

// consult looks whether the centre's answer about the record may be used.
func (d *dispatcher) consult(r event.Record, leased time.Time) {
	it := item{rec: r, leased: leased}
	switch data, advice := d.Answers.About(r); advice {
	case shared.Push:
		d.enqueue(it, data)
	case shared.Ask:
		d.asking[r.ID.Seq] = it
		d.meters.asks.Inc()
		d.Questions.Ask(r)
	case shared.Resync:
		d.resync(it)
	}
}

// enqueue makes a record ready for a worker.
func (d *dispatcher) enqueue(it item, data scan.Waybill) {
	it.data, it.since = data, time.Now()
	d.ready = append(d.ready, it)
}

// resync has the nodes of the record's waybill sent to the centre again.
func (d *dispatcher) resync(it item) {
	d.asking[it.rec.ID.Seq] = it
	d.Questions.Resync(it.rec)
}

// takeResolved goes on with the records that the centre was asked about.
func (d *dispatcher) takeResolved() {
	for _, v := range d.Questions.TakeResolved() {
		if it, ok := d.asking[v.Seq]; ok {
			delete(d.asking, v.Seq)
			d.goOn(it, v)
		}
	}
}

// goOn takes one record further. One that the centre does not have is sent
// again with its waybill, once; what is unknown after that is on its way with
// the next batches.
func (d *dispatcher) goOn(it item, v shared.Resolution) {
	r, now := it.rec, d.Clock.Now()
	e, over := d.Gate.Answered(r, v.Result, v.Reason, d.Today())
	unknown := v.Result == syncapi.Conflict || v.Result == syncapi.Unknown
	data, advice := d.Answers.About(r)
	switch {
	case v.Err != nil:
		d.release(again(r, now.Add(time.Second+wait.UpTo(4*time.Second))))
	case unknown && v.Resynced:
		d.release(again(r, now.Add(wait.UpTo(unknownRest))))
	case unknown:
		d.resync(it)
	case over:
		d.ends(e)
	case v.Result == syncapi.Taken && advice == shared.Push:
		d.enqueue(it, data)
	case v.Result == syncapi.Taken && advice == shared.Resync && !v.Resynced:
		d.resync(it)
	default: // no waybill data
		d.park(r)
	}
}

// park gives a record back until its waybill's data comes.
func (d *dispatcher) park(r event.Record) {
	if err := d.Outbox.Park(r); err != nil && !errors.Is(err, event.ErrNotLeased) {
		d.Log.Error("park event without waybill data", "id", r.ID.String(), "error", err)
	}
	d.left.Count(time.Now())
	// Declared after it is parked: if the data came in between, the centre
	// answers the declaration with ready.
	d.Questions.Declare(r.Event.Waybill)
}
