package central

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

// slotWait is how long a sync waits for its turn before it is told to come again.
const slotWait = 5 * time.Second

// maxAhead is how far in the future a time may lie before it can only be a
// mistake; the clock rule of the depots is far stricter.
const maxAhead = 24 * time.Hour

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

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, syncapi.MaxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge()
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body breaks off")
	}
	return body, nil
}

func errTooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", syncapi.MaxBodyBytes)
}

// decodeSync reads and checks a request. What it says never quotes the body.
func decodeSync(body []byte, encoding string) (*syncapi.Request, error) {
	body, err := unzip(body, encoding)
	if err != nil {
		return nil, err
	}
	// The version comes first: another version's fields may have other types.
	var version struct{ V int }
	if err := json.Unmarshal(body, &version); err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is no JSON object of a sync")
	}
	if version.V != syncapi.Version {
		return nil, refuse(http.StatusNotImplemented, "this centre speaks version %d of the sync API, the depot version %d: update the older of them",
			syncapi.Version, version.V)
	}
	var req syncapi.Request
	if err := json.Unmarshal(body, &req); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, refuse(http.StatusBadRequest, "field %s has the wrong type", wrong.Field)
		}
		return nil, refuse(http.StatusBadRequest, "the body is no JSON object of a sync")
	}
	return &req, checkSync(&req)
}

func checkSync(req *syncapi.Request) error {
	for _, l := range []struct {
		name       string
		have, most int
	}{
		{"events", len(req.Events), syncapi.MaxEvents}, {"ask", len(req.Ask), syncapi.MaxAsk},
		{"waiting", len(req.Waiting), syncapi.MaxWaiting}, {"bindings", len(req.Bindings), syncapi.MaxBindings},
	} {
		if l.have > l.most {
			return refuse(http.StatusRequestEntityTooLarge, "%s has %d entries, at most %d are taken", l.name, l.have, l.most)
		}
	}
	if _, err := parseEpoch(req.Epoch); err != nil {
		return refuse(http.StatusBadRequest, "epoch: want 16 hex digits")
	}
	for i := range req.Ask {
		if _, err := parseEpoch(req.Ask[i].Epoch); err != nil {
			return refuse(http.StatusBadRequest, "ask %d: epoch: want 16 hex digits", i)
		}
	}
	return checkNumbers(req)
}

// checkNumbers holds the request to the rules of syncapi, Sequence.
func checkNumbers(req *syncapi.Request) error {
	last := uint64(0)
	for i := range req.Events {
		seq := req.Events[i].Seq
		switch {
		case seq <= last:
			return refuse(http.StatusBadRequest, "event %d: seq %d does not rise", i, seq)
		case seq < req.From:
			return refuse(http.StatusBadRequest, "event %d: seq %d lies below from %d", i, seq, req.From)
		case seq >= req.NextSeq:
			return refuse(http.StatusBadRequest, "event %d: seq %d is not below next_seq %d", i, seq, req.NextSeq)
		}
		last = seq
	}
	if len(req.Events) > 0 && req.From == 0 {
		return refuse(http.StatusBadRequest, "from is missing beside events")
	}
	return nil
}

func parseEpoch(s string) (uint64, error) {
	if len(s) != 16 {
		return 0, errors.New("not 16 digits")
	}
	return strconv.ParseUint(s, 16, 64)
}

var unzippers sync.Pool // of *gzip.Reader

// unzip returns the body as it was before compression.
func unzip(body []byte, encoding string) ([]byte, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return body, nil
	case "gzip":
	default:
		return nil, refuse(http.StatusBadRequest, "Content-Encoding: only gzip is taken")
	}
	z, _ := unzippers.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer unzippers.Put(z)
	if err := z.Reset(bytes.NewReader(body)); err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is not gzip")
	}
	plain, err := io.ReadAll(io.LimitReader(z, syncapi.MaxBodyBytes+1))
	switch {
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body is not whole gzip")
	case len(plain) > syncapi.MaxBodyBytes:
		return nil, errTooLarge()
	}
	return plain, nil
}

var zippers = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}

// zipFrom is the size from which an answer is worth compressing.
const zipFrom = 1024

// writeZipped answers a sync.
func writeZipped(w http.ResponseWriter, r *http.Request, resp *syncapi.Response) {
	body, err := json.Marshal(resp)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the answer cannot be written")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if len(body) < zipFrom || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		_, _ = w.Write(body) // a depot that has gone away sends again
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(w)
	_, _ = z.Write(body)
	_ = z.Close()
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
	resp := &syncapi.Response{
		V: syncapi.Version, StoreID: c.o.Snapshot.ID(), Process: c.process, Time: now.Unix(),
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

// event turns an event on the wire into one for the snapshot, refused where it
// is unsound, and without waybill data where that is.
func (c *Central) event(w *syncapi.Event, now time.Time) snapshot.Event {
	e := snapshot.Event{Seq: w.Seq, Muted: w.Muted, Event: w.Event()}
	e.Refuse = unsound(&e.Event, now)
	if e.Data != nil && badData(e.Data, now) != nil {
		e.Data = nil
		c.meters.dropped.Inc()
	}
	return e
}

// unsound tells why an event cannot be taken; "" if it can. It names fields,
// never their content.
func unsound(e *scan.Event, now time.Time) string {
	if err := e.Validate(); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	switch {
	case len(e.Waybill) > snapshot.MaxWaybillID:
		return fmt.Sprintf("waybill_id is longer than %d bytes", snapshot.MaxWaybillID)
	case scan.NormalizeWaybill(string(e.Waybill)) != e.Waybill:
		return "waybill_id is not trimmed and in upper case"
	case e.ActionTime <= 0:
		return "action_time is missing"
	case e.ActionTime > now.Add(maxAhead).Unix():
		return "action_time lies more than a day ahead of the centre's clock"
	}
	return ""
}

// badData tells what is wrong with waybill data; nil if nothing.
func badData(w *scan.Waybill, now time.Time) error {
	if w.CreateTime > now.Add(maxAhead).Unix() {
		return errors.New("create_time lies in the future: it is in unix seconds")
	}
	return w.Validate()
}

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
