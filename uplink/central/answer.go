package central

import (
	"context"
	"net/http"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/tokens"
	"scanrelay/uplink/syncapi"
)

// reportWait is how long the sync that reports a bad token waits for its check.
const reportWait = 5 * time.Second

// answerSync does what a sound request asks for.
func (c *Central) answerSync(ctx context.Context, depot scan.DepotID, req *syncapi.Request) (*syncapi.Response, error) {
	now := c.now()
	resp := &syncapi.Response{V: syncapi.Version, Time: now.Unix()}
	var checked <-chan struct{}
	for _, step := range []func() error{
		func() error { return c.presence.Heard(ctx, depot, req) },
		func() (err error) { checked, err = c.tokens.Hear(ctx, depot, word(req)); return },
		func() (err error) { resp.StoreID, err = c.o.Snapshot.ID(ctx); return },
		func() (err error) { resp.Process, err = c.waiting.Life(ctx); return },
		func() error { return c.merge(ctx, depot, req, resp, now) },
		func() error { return c.answerAsks(ctx, depot, req, resp) },
		func() error { return c.addKnown(ctx, depot, req, resp, now) },
		func() error { return c.addReady(ctx, depot, req, resp) },
		func() error { waitFor(ctx, checked, reportWait); return nil },
		func() (err error) { resp.Token, resp.WeChat, err = c.tokens.Give(ctx, req.BadToken); return },
		func() error { return c.orders.Heard(ctx, depot, req.Done) },
		func() error { return c.looks.Heard(ctx, depot, req.Looked) },
		func() error { resp.Orders, resp.Look = c.orders.Of(depot), c.looks.Of(depot); return nil },
		func() error { resp.Directives = c.direct(ctx, depot, req); return nil },
		func() (err error) { resp.Rate, err = c.shares.Share(ctx, depot, req.Backlog); return },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// word is what a request says about tokens.
func word(req *syncapi.Request) tokens.Word {
	w := tokens.Word{Bad: req.BadToken}
	if a := req.Accepted; a != nil {
		w.Accepted, w.AcceptedAgo = a.Generation, time.Duration(max(0, min(a.Age, maxAge)))*time.Second
	}
	return w
}

// waitFor waits until done is closed, which it never is if nil, at most that long.
func waitFor(ctx context.Context, done <-chan struct{}, most time.Duration) {
	if done == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// merge puts the request's events and bindings into the snapshot.
func (c *Central) merge(ctx context.Context, depot scan.DepotID, req *syncapi.Request, resp *syncapi.Response, now time.Time) error {
	epoch, err := syncapi.ParseEpoch(req.Epoch)
	if err != nil {
		return err
	}
	if req.Finished > 0 && req.Finished <= req.NextSeq {
		c.finished.Heard(depot, epoch, req.Finished)
	}
	decided := c.decided(req.Events)
	if decided == 0 && len(req.Events) > 0 {
		return refuse(http.StatusServiceUnavailable,
			"an event lies more than a day ahead of the centre's clock, which neither WeChat nor a later event has confirmed yet")
	}
	b := snapshot.Batch{Depot: depot, Epoch: epoch, NextSeq: req.NextSeq, From: req.From}
	for i := range req.Events[:decided] {
		b.Events = append(b.Events, c.event(&req.Events[i], now))
	}
	for _, o := range req.Bindings {
		age := time.Duration(max(0, min(o.Age, maxAge))) * time.Second
		b.Bindings = append(b.Bindings, snapshot.Observation{Waybill: o.WaybillID, Exist: o.Exist, At: now.Add(-age)})
	}
	merged, err := c.o.Snapshot.Merge(ctx, b)
	if err == nil {
		err = c.waiting.Arrived(ctx, merged.Gained...)
	}
	if err != nil {
		return err
	}
	c.report(depot, &merged)
	resp.Have, resp.Rewind = merged.Have, merged.Rewind
	for i, a := range merged.Answers {
		resp.Answers = append(resp.Answers, c.answer(depot, req, req.Epoch, req.Events[i].Seq, a))
		c.meters.events(resp.Answers[i].Result).Inc()
	}
	return nil
}

// maxGapCounted is what one gap counts for at most: a depot must not spoil the
// fleet's count.
const maxGapCounted = 1_000_000

// report tells operators what a merge showed.
func (c *Central) report(depot scan.DepotID, merged *snapshot.Merged) {
	for _, g := range merged.Gaps {
		c.meters.gap.Add(int(min(g.To-g.From+1, maxGapCounted)))
		if ok, _ := c.lines.Allow(string(depot), c.o.Now()); !ok {
			continue // the page shows them
		}
		c.o.Logger.Error("gap in a depot's numbering: these events never came", "depot", string(g.Depot),
			"epoch", syncapi.FormatEpoch(g.Epoch), "from", g.From, "to", g.To)
	}
	if !merged.Rewind {
		return
	}
	if ok, _ := c.lines.Allow(string(depot), c.o.Now()); ok {
		c.o.Logger.Warn("depot is ahead of this centre: asked to send again", "depot", string(depot), "from", merged.Have+1)
	}
}

// maxAge bounds what a depot says about the age of a binding, in seconds.
const maxAge = 10 * 365 * 24 * 3600

var results = map[snapshot.Result]syncapi.Result{
	snapshot.Taken: syncapi.Taken, snapshot.Late: syncapi.Late, snapshot.Duplicate: syncapi.Duplicate,
	snapshot.Refused: syncapi.Refused, snapshot.Conflict: syncapi.Conflict, snapshot.Unknown: syncapi.Unknown,
}

// answer puts an answer on the wire. What the store that sent it first has ended, and
// this one has not, is a duplicate: it runs from a copy, or lost the outcome.
func (c *Central) answer(depot scan.DepotID, req *syncapi.Request, epoch string, seq uint64, a snapshot.Answer) syncapi.Answer {
	w := syncapi.Answer{Epoch: epoch, Seq: seq, Reason: a.Reason, Result: results[a.Result]}
	if a.Result != snapshot.Taken {
		return w
	}
	if a.Epoch == 0 {
		a.Epoch, _ = syncapi.ParseEpoch(epoch) // it was sound
	}
	switch {
	case req.Finished <= seq && c.finished.Has(depot, a.Epoch, seq):
		w.Result = syncapi.Duplicate
		c.meters.again.Inc()
		if ok, _ := c.lines.Allow(string(depot), c.o.Now()); ok {
			c.o.Logger.Warn("a depot wanted to push what it had ended: two gateways run from one card, or its store lost that", "depot", string(depot), "seq", seq)
		}
	case !a.HasData:
		w.Result = syncapi.NoWaybillData
	}
	return w
}

func (c *Central) answerAsks(ctx context.Context, depot scan.DepotID, req *syncapi.Request, resp *syncapi.Response) error {
	if len(req.Ask) == 0 {
		return nil
	}
	asks := make([]snapshot.Ask, len(req.Ask))
	asked := make([]scan.WaybillID, len(req.Ask))
	for i, a := range req.Ask {
		epoch, err := syncapi.ParseEpoch(a.Epoch)
		if err != nil {
			return err
		}
		asks[i] = snapshot.Ask{Epoch: epoch, Seq: a.Seq, EventID: a.EventID, Waybill: a.WaybillID}
		asked[i] = asks[i].Waybill
	}
	answers, err := c.o.Snapshot.Answers(ctx, depot, asks)
	if err != nil {
		return err
	}
	for i, a := range answers {
		resp.Answers = append(resp.Answers, c.answer(depot, req, req.Ask[i].Epoch, req.Ask[i].Seq, a))
	}
	return c.waiting.Woken(ctx, depot, asked)
}

// addKnown adds what is known of the waybills in events and asks, each once.
func (c *Central) addKnown(ctx context.Context, depot scan.DepotID, req *syncapi.Request, resp *syncapi.Response, now time.Time) error {
	ids := make([]scan.WaybillID, 0, len(req.Events)+len(req.Ask))
	for i := range req.Events {
		ids = append(ids, req.Events[i].WaybillID)
	}
	for i := range req.Ask {
		ids = append(ids, req.Ask[i].WaybillID)
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	known, err := c.o.Snapshot.Known(ctx, depot, slices.Compact(ids))
	if err != nil {
		return err
	}
	for i := range known {
		if known[i].Parcel { // the answer says so
			continue
		}
		resp.Waybills = append(resp.Waybills, knownWaybill(&known[i], now))
	}
	return nil
}

func knownWaybill(k *snapshot.Known, now time.Time) syncapi.Known {
	w := syncapi.Known{WaybillID: k.Waybill, Waybill: syncapi.FromWaybill(k.Data)}
	if k.Binding != nil {
		w.Binding = &syncapi.Binding{Exist: k.Binding.Exist, Age: max(0, int64(now.Sub(k.Binding.At)/time.Second))}
	}
	return w
}

// addReady notes what the depot waits for and tells what has come. A waybill that
// has its data already is told at once, whether or not there is room to note it; it
// is noted before it is looked up, so that data which comes in between is not missed.
func (c *Central) addReady(ctx context.Context, depot scan.DepotID, req *syncapi.Request, resp *syncapi.Response) error {
	var err error
	if resp.Ready, err = c.waiting.Ready(ctx, depot, syncapi.MaxWaiting); err != nil || len(req.Waiting) == 0 {
		return err
	}
	there, err := c.declare(ctx, depot, req.Waiting)
	resp.Ready = append(resp.Ready, there...)
	return err
}

// declare returns which of these have their data already.
func (c *Central) declare(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) ([]scan.WaybillID, error) {
	if err := c.waiting.Declare(ctx, depot, ids); err != nil {
		return nil, err
	}
	slices.Sort(ids)
	known, err := c.o.Snapshot.Known(ctx, "", slices.Compact(ids)) // that there is data, or that it is a parcel, is all that is told
	if err != nil {
		return nil, err
	}
	there := make([]scan.WaybillID, len(known))
	for i := range known {
		there[i] = known[i].Waybill
	}
	return there, c.waiting.Arrived(ctx, there...)
}
