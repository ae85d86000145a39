package central

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

// slotWait is how long a sync waits for its turn before it is told to come again.
const slotWait = 5 * time.Second

// serveSync is POST /v1/sync.
func (c *Central) serveSync(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	depot, status, why := c.keys.depot(r)
	if status != http.StatusOK {
		c.meters.sync(status, start)
		c.fleet.refuse(c.o.Logger, c.o.Now(), c.clientAddress(r).String(), why)
		fail(w, status, why)
		return
	}
	resp, err := c.sync(w, r, depot)
	var refusal *refusal
	switch {
	case err == nil:
		c.meters.sync(http.StatusOK, start)
		writeZipped(w, r, resp)
	case errors.As(err, &refusal):
		c.meters.sync(refusal.status, start)
		fail(w, refusal.status, refusal.why)
	case r.Context().Err() != nil:
		c.meters.sync(499, start) // the depot went away; nobody reads an answer
	default:
		c.meters.sync(http.StatusServiceUnavailable, start)
		c.o.Logger.Error("sync a depot", "depot", string(depot), "err", err)
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusServiceUnavailable, "the centre cannot take events now")
	}
}

// refusal is an error that the depot is told.
type refusal struct {
	status int
	why    string
}

func (e *refusal) Error() string { return e.why }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

func (c *Central) sync(w http.ResponseWriter, r *http.Request, depot scan.DepotID) (*syncapi.Response, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	release, err := c.slot(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	req, err := decodeSync(body, r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	return c.answerSync(r.Context(), depot, req)
}

// slot waits for one of the places in which requests are decoded.
func (c *Central) slot(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, refuse(http.StatusServiceUnavailable, "the centre is overloaded, try again")
	}
}

// answerSync does what a sound request asks for.
func (c *Central) answerSync(ctx context.Context, depot scan.DepotID, req *syncapi.Request) (*syncapi.Response, error) {
	now := c.o.Now()
	c.fleet.heard(depot, req, now)
	refreshed := c.broker.report(depot, req.BadToken)
	merged, err := c.merge(ctx, depot, req, now)
	if err != nil {
		return nil, err
	}
	store, err := c.o.Snapshot.ID(ctx)
	if err != nil {
		return nil, err
	}
	resp := &syncapi.Response{
		V: syncapi.Version, StoreID: store, Process: c.process, Time: now.Unix(),
		Have: merged.Have, Rewind: merged.Rewind,
	}
	for i, a := range merged.Answers {
		resp.Answers = append(resp.Answers, answer(req.Epoch, req.Events[i].Seq, a))
	}
	if err := c.answerAsks(ctx, depot, req, resp); err != nil {
		return nil, err
	}
	if err := c.addKnown(ctx, req, resp, now); err != nil {
		return nil, err
	}
	if err := c.addReady(ctx, depot, req, resp); err != nil {
		return nil, err
	}
	c.broker.wait(ctx, refreshed)
	resp.Token, resp.WeChat = c.broker.give(depot)
	resp.Rate = c.shares.share(depot, req.Backlog, now)
	return resp, nil
}

// merge puts the request's events and bindings into the snapshot.
func (c *Central) merge(ctx context.Context, depot scan.DepotID, req *syncapi.Request, now time.Time) (snapshot.Merged, error) {
	epoch, err := parseEpoch(req.Epoch)
	if err != nil {
		return snapshot.Merged{}, err
	}
	b := snapshot.Batch{Depot: depot, Epoch: epoch, NextSeq: req.NextSeq, From: req.From}
	for i := range req.Events {
		b.Events = append(b.Events, c.event(&req.Events[i], now))
	}
	for _, o := range req.Bindings {
		b.Bindings = append(b.Bindings, snapshot.Observation{
			Waybill: scan.WaybillID(o.WaybillID), Exist: o.Exist, At: now.Add(-time.Duration(max(0, min(o.Age, maxAge))) * time.Second),
		})
	}
	merged, err := c.o.Snapshot.Merge(ctx, b)
	if err != nil {
		return merged, err
	}
	c.waiting.arrived(merged.Gained...)
	for _, a := range merged.Answers {
		c.meters.answer(a)
	}
	for _, g := range merged.Gaps {
		c.meters.gap.Add(int(g.To - g.From + 1))
		c.o.Logger.Error("gap in a depot's numbering: these events never came", "depot", string(g.Depot),
			"epoch", fmt.Sprintf("%016x", g.Epoch), "from", g.From, "to", g.To)
	}
	if merged.Rewind {
		c.o.Logger.Warn("depot is ahead of this centre: asked to send again", "depot", string(depot), "from", merged.Have+1)
	}
	return merged, nil
}

// maxAge bounds what a depot says about the age of a binding, in seconds.
const maxAge = 10 * 365 * 24 * 3600

// answer puts an answer on the wire.
func answer(epoch string, seq uint64, a snapshot.Answer) syncapi.Answer {
	w := syncapi.Answer{Epoch: epoch, Seq: seq, Reason: a.Reason}
	switch a.Result {
	case snapshot.Taken:
		w.Result = syncapi.Taken
		if !a.HasData {
			w.Result = syncapi.NoWaybillData
		}
	case snapshot.Late:
		w.Result = syncapi.Late
	case snapshot.Duplicate:
		w.Result = syncapi.Duplicate
	case snapshot.Refused:
		w.Result = syncapi.Refused
	case snapshot.Conflict:
		w.Result = syncapi.Conflict
	default:
		w.Result = syncapi.Unknown
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
		epoch, err := parseEpoch(a.Epoch)
		if err != nil {
			return err
		}
		asks[i] = snapshot.Ask{Epoch: epoch, Seq: a.Seq, EventID: a.EventID, Waybill: scan.WaybillID(a.WaybillID)}
		asked[i] = asks[i].Waybill
	}
	answers, err := c.o.Snapshot.Answers(ctx, depot, asks)
	if err != nil {
		return err
	}
	for i, a := range answers {
		resp.Answers = append(resp.Answers, answer(req.Ask[i].Epoch, req.Ask[i].Seq, a))
	}
	c.waiting.woken(depot, asked)
	return nil
}

// addKnown adds what is known of the waybills in events and asks, each once.
func (c *Central) addKnown(ctx context.Context, req *syncapi.Request, resp *syncapi.Response, now time.Time) error {
	seen := make(map[scan.WaybillID]bool, len(req.Events)+len(req.Ask))
	ids := make([]scan.WaybillID, 0, len(req.Events)+len(req.Ask))
	add := func(id string) {
		if w := scan.WaybillID(id); !seen[w] {
			seen[w] = true
			ids = append(ids, w)
		}
	}
	for i := range req.Events {
		add(req.Events[i].WaybillID)
	}
	for i := range req.Ask {
		add(req.Ask[i].WaybillID)
	}
	if len(ids) == 0 {
		return nil
	}
	known, err := c.o.Snapshot.Known(ctx, ids)
	if err != nil {
		return err
	}
	for i := range known {
		resp.Waybills = append(resp.Waybills, knownWaybill(&known[i], now))
	}
	return nil
}

func knownWaybill(k *snapshot.Known, now time.Time) syncapi.Known {
	w := syncapi.Known{WaybillID: string(k.Waybill), Waybill: syncapi.FromWaybill(k.Data)}
	if k.Binding != nil {
		w.Binding = &syncapi.Binding{Exist: k.Binding.Exist, Age: max(0, int64(now.Sub(k.Binding.At)/time.Second))}
	}
	return w
}

// addReady notes what the depot waits for and tells what has come. A waybill
// that has its data already is ready at once; it is noted before it is looked
// up, so that data which comes in between is not missed.
func (c *Central) addReady(ctx context.Context, depot scan.DepotID, req *syncapi.Request, resp *syncapi.Response) error {
	if len(req.Waiting) > 0 {
		ids := make([]scan.WaybillID, len(req.Waiting))
		for i, id := range req.Waiting {
			ids[i] = scan.WaybillID(id)
		}
		c.waiting.declare(depot, ids)
		known, err := c.o.Snapshot.Known(ctx, ids)
		if err != nil {
			return err
		}
		for i := range known {
			c.waiting.arrived(known[i].Waybill)
		}
	}
	resp.Ready = c.waiting.ready(depot, syncapi.MaxWaiting)
	return nil
}
