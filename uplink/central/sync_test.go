package central_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/waiting"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
)

func results(resp *syncapi.Response) []syncapi.Result {
	var out []syncapi.Result
	for _, a := range resp.Answers {
		out = append(out, a.Result)
	}
	return out
}

func wantResults(t *testing.T, resp *syncapi.Response, want ...syncapi.Result) {
	t.Helper()
	if got := results(resp); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("results %v, want %v", got, want)
	}
}

// TestOneParcel goes the whole way: an event without waybill data, the data,
// ready, the ask before the push.
func TestOneParcel(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	id, err := b.Store.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resp := b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, now)}, Backlog: 1})
	wantResults(t, resp, syncapi.NoWaybillData)
	if resp.Have != 1 || len(resp.Waybills) != 0 || resp.StoreID != id || resp.Process == "" {
		t.Fatalf("first sync: %+v", resp)
	}
	resp = b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Waiting: []scan.WaybillID{centraltest.Parcel}})
	if len(resp.Ready) != 0 {
		t.Fatalf("ready before the data came: %v", resp.Ready)
	}
	b.Import(" yt1234567890123 ")
	for range 2 { // told again until the depot asks: an answer may get lost
		resp = b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2})
		if len(resp.Ready) != 1 || resp.Ready[0] != centraltest.Parcel {
			t.Fatalf("ready: %v", resp.Ready)
		}
	}
	resp = b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Ask: []syncapi.Ask{
		{Epoch: centraltest.EpochA, Seq: 1, EventID: centraltest.Event(1, centraltest.Parcel, now).EventID, WaybillID: centraltest.Parcel},
		{Epoch: centraltest.EpochA, Seq: 2, EventID: "never", WaybillID: centraltest.Parcel},
	}})
	wantResults(t, resp, syncapi.Taken, syncapi.Unknown)
	if len(resp.Waybills) != 1 || resp.Waybills[0].Receiver.Phone != centraltest.Receiver || resp.Waybills[0].Binding != nil {
		t.Fatalf("waybills: %+v", resp.Waybills)
	}
	if len(resp.Ready) != 0 {
		t.Fatalf("ready although the depot has asked: %v", resp.Ready)
	}
	if resp.Rate != 500 {
		t.Errorf("the only depot's share is %v", resp.Rate)
	}
	centraltest.Eventually(t, "a token", func() bool { return b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2}).Token != nil })
}

// TestReady: declared late, declared twice, by two depots, data from a scan.
func TestReady(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, "SHARED01", now)}})
	b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Waiting: []scan.WaybillID{"SHARED01", "SHARED01"}})
	b.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 1, Waiting: []scan.WaybillID{"SHARED01"}})
	e := centraltest.Event(1, "SHARED01", now)
	var line waybills.Item
	if err := json.Unmarshal([]byte(centraltest.Line("SHARED01", now-60)), &line); err != nil {
		t.Fatal(err)
	}
	e.Waybill = &line.Waybill
	resp := b.Sync(centraltest.TokenSH, syncapi.Request{Events: []syncapi.Event{e}})
	wantResults(t, resp, syncapi.Taken)
	if len(resp.Ready) != 1 {
		t.Fatalf("the depot whose scan brought it: %v", resp.Ready)
	}
	if resp = b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2}); len(resp.Ready) != 1 {
		t.Fatalf("the other depot: %v", resp.Ready)
	}
	b.Import("BEFORE01")
	resp = b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Waiting: []scan.WaybillID{"BEFORE01"}})
	if len(resp.Ready) != 2 {
		t.Fatalf("declared when the data was there: %v", resp.Ready)
	}
	for range waiting.ReadyTimes + 1 { // the answer to the declaration itself comes beside
		resp = b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2})
	}
	if len(resp.Ready) != 0 {
		t.Fatalf("told for ever: %v", resp.Ready)
	}
	if n := b.Metric("scanrelay_central_waiting_declared"); n != "0" {
		t.Errorf("%s declared", n)
	}
	if resp = b.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 2}); len(resp.Ready) != 1 {
		t.Errorf("the other depot's: %v", resp.Ready)
	}
}

// TestNotAsAnother: what a depot sends is filed under its own id, whatever it
// writes into the request, and asks tell it of its own events only.
func TestNotAsAnother(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	e := centraltest.Event(1, centraltest.Parcel, now)
	b.Sync(centraltest.TokenSH, syncapi.Request{Events: []syncapi.Event{e}})
	body := fmt.Sprintf(`{"v":1,"depot":"hz-01","depot_id":"hz-01","epoch":%q,"next_seq":3,"from":1,"events":[
		{"seq":1,"depot":"hz-01","event_id":"forged","waybill_id":%q,"action_time":%d,"action_type":200001,"action_msg":"x"}]}`, centraltest.EpochA, "FORGED01", now)
	code, out := b.Call("POST", "/v1/sync", body, "Authorization", "Bearer "+centraltest.TokenHZ, "X-Depot", "sh-01")
	if code != 200 {
		t.Fatalf("%d %s", code, out)
	}
	wb, _, err := b.Store.Lookup(t.Context(), "FORGED01")
	if err != nil || len(wb.Nodes) != 1 || wb.Nodes[0].Depot != "hz-01" {
		t.Fatalf("filed under another depot: %+v, %v", wb.Nodes, err)
	}
	// The same epoch and numbers of two depots are two things.
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Ask: []syncapi.Ask{{Epoch: centraltest.EpochA, Seq: 1, EventID: e.EventID, WaybillID: centraltest.Parcel}}}),
		syncapi.Unknown)
	code, _ = b.Call("POST", "/v1/sync", body, "Authorization", "Bearer "+centraltest.TokenSH)
	if wb, _, _ := b.Store.Lookup(t.Context(), "FORGED01"); code != 200 || len(wb.Nodes) != 1 {
		t.Errorf("a conflict of another depot was merged: %d nodes", len(wb.Nodes)) // sh-01 has another event under 1
	}
}

func TestMalformed(t *testing.T) {
	b := centraltest.New(t, nil)
	request := func(change func(r *syncapi.Request)) string {
		r := syncapi.Request{V: 1, Epoch: centraltest.EpochA, NextSeq: 10, From: 1, Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, 1e9), centraltest.Event(2, centraltest.Parcel, 1e9)}}
		change(&r)
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	many := func(n int) (ids []scan.WaybillID) {
		for range n {
			ids = append(ids, centraltest.Parcel)
		}
		return ids
	}
	for _, c := range []struct {
		name, body, encoding string
		status               int
		says                 string
	}{
		{"empty", "", "", 400, "no JSON"},
		{"not JSON", "hello 13800138000", "", 400, "no JSON"},
		{"an array", "[]", "", 400, "no JSON"},
		{"a wrong type", strings.Replace(request(func(*syncapi.Request) {}), `"seq":1`, `"seq":"1"`, 1), "", 400, "events.seq"},
		{"no version", `{}`, "", 409, "version 0"},
		{"another version", `{"v":2,"epoch":5}`, "", 409, "version 2"},
		{"no epoch", request(func(r *syncapi.Request) { r.Epoch = "" }), "", 400, "epoch"},
		{"epoch of other digits", request(func(r *syncapi.Request) { r.Epoch = "zzzzzzzzzzzzzzzz" }), "", 400, "epoch"},
		{"ask without epoch", request(func(r *syncapi.Request) { r.Ask = []syncapi.Ask{{Seq: 1}} }), "", 400, "ask 0"},
		{"numbers fall", request(func(r *syncapi.Request) { r.Events[1].Seq = 1 }), "", 400, "does not rise"},
		{"number 0", request(func(r *syncapi.Request) { r.Events[0].Seq = 0 }), "", 400, "does not rise"},
		{"below from", request(func(r *syncapi.Request) { r.From = 2 }), "", 400, "below from"},
		{"from is missing", request(func(r *syncapi.Request) { r.From = 0 }), "", 400, "from is missing"},
		{"beyond next_seq", request(func(r *syncapi.Request) { r.NextSeq = 2 }), "", 400, "next_seq"},
		{"too many events", request(func(r *syncapi.Request) { r.Events = make([]syncapi.Event, syncapi.MaxEvents+1) }), "", 413, "events"},
		{"too many waiting", request(func(r *syncapi.Request) { r.Waiting = many(syncapi.MaxWaiting + 1) }), "", 413, "waiting"},
		{"too many asks", request(func(r *syncapi.Request) { r.Ask = make([]syncapi.Ask, syncapi.MaxAsk+1) }), "", 413, "ask"},
		{"too many bindings", request(func(r *syncapi.Request) { r.Bindings = make([]syncapi.Binding, syncapi.MaxBindings+1) }), "", 413, "bindings"},
		{"too large", strings.Repeat(" ", syncapi.MaxBodyBytes+1), "", 413, "bytes"},
		{"a gzip bomb", centraltest.Zipped(strings.Repeat(" ", syncapi.MaxBodyBytes+1)), "gzip", 413, "bytes"},
		{"no gzip", "hello", "gzip", 400, "gzip"},
		{"half a gzip", centraltest.Zipped(request(func(*syncapi.Request) {}))[:60], "gzip", 400, "gzip"},
		{"another encoding", "hello", "br", 400, "Content-Encoding"},
	} {
		code, out := b.Call("POST", "/v1/sync", c.body, "Authorization", "Bearer "+centraltest.TokenHZ, "Content-Encoding", c.encoding)
		var f syncapi.Failure
		if err := json.Unmarshal([]byte(out), &f); err != nil || code != c.status || !strings.Contains(f.Error, c.says) {
			t.Errorf("%s: %d %s", c.name, code, out)
		}
		if strings.Contains(out, "138001") {
			t.Errorf("%s: the body is quoted: %s", c.name, out)
		}
	}
	if b.Stats().Tail+b.Stats().Waybills > 0 {
		t.Error("something of a malformed request was stored")
	}
	if code, out := b.Call("GET", "/v1/sync", ""); code != 405 {
		t.Errorf("GET: %d %s", code, out)
	}
	code, out := b.Call("POST", "/v1/sync", centraltest.Zipped(request(func(*syncapi.Request) {})), "Authorization", "Bearer "+centraltest.TokenHZ, "Content-Encoding", "gzip")
	if code != 200 || !strings.Contains(out, `"have":2`) {
		t.Errorf("a sound one: %d %s", code, out)
	}
}

// TestUnsound: one bad event is refused with its reason, the others are taken.
func TestUnsound(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) { o.WeChatTime = time.Now })
	now := time.Now().Unix()
	bad := []struct {
		change func(e *syncapi.Event)
		says   string
	}{
		{func(e *syncapi.Event) { e.ActionType = 300001 }, "300001"},
		{func(e *syncapi.Event) { e.ActionMsg = "" }, "action_msg"},
		{func(e *syncapi.Event) { e.EventID = "" }, "event_id"},
		{func(e *syncapi.Event) { e.WaybillID = "" }, "waybill_id"},
		{func(e *syncapi.Event) { e.WaybillID = "yt1" }, "upper case"},
		{func(e *syncapi.Event) { e.WaybillID = scan.WaybillID(strings.Repeat("X", 65)) }, "longer"},
		{func(e *syncapi.Event) { e.ActionTime = 0 }, "action_time"},
		{func(e *syncapi.Event) { e.ActionTime = now + 3*86400 }, "ahead"},
		{func(e *syncapi.Event) { e.ActionTime = now * 1000 }, "ahead"},
		{func(e *syncapi.Event) { e.DeliverPhone = strings.Repeat("1", 40) }, "delivery_courier_phone"},
	}
	var r syncapi.Request
	for i, c := range bad {
		e := centraltest.Event(uint64(i+1), centraltest.Parcel, now)
		c.change(&e)
		r.Events = append(r.Events, e)
	}
	r.Events = append(r.Events, centraltest.Event(uint64(len(bad)+1), centraltest.Parcel, now))
	resp := b.Sync(centraltest.TokenHZ, r)
	for i, c := range bad {
		if a := resp.Answers[i]; a.Result != syncapi.Refused || !strings.Contains(a.Reason, c.says) {
			t.Errorf("event %d: %+v, want %q", i, a, c.says)
		}
	}
	if a := resp.Answers[len(bad)]; a.Result != syncapi.NoWaybillData || resp.Have != uint64(len(bad)+1) {
		t.Errorf("the good one: %+v, have %d", a, resp.Have)
	}
}

// TestScanData: incomplete data with a scan is dropped and counted, the event
// stays; complete data is taken.
func TestScanData(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	var good waybills.Item
	if err := json.Unmarshal([]byte(centraltest.Line("X", now)), &good); err != nil {
		t.Fatal(err)
	}
	incomplete, future := good.Waybill, good.Waybill
	incomplete.Receiver.City = ""
	future.CreateTime *= 1000
	r := syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, "INCOMPLETE", now), centraltest.Event(2, "FUTURE", now), centraltest.Event(3, "COMPLETE", now)}}
	r.Events[0].Waybill, r.Events[1].Waybill, r.Events[2].Waybill = &incomplete, &future, &good.Waybill
	resp := b.Sync(centraltest.TokenHZ, r)
	wantResults(t, resp, syncapi.NoWaybillData, syncapi.NoWaybillData, syncapi.Taken)
	if len(resp.Waybills) != 1 || resp.Waybills[0].WaybillID != "COMPLETE" || b.Metric("scanrelay_central_waybill_data_dropped_total") != "2" {
		t.Errorf("waybills %+v, %s dropped", resp.Waybills, b.Metric("scanrelay_central_waybill_data_dropped_total"))
	}
}

// TestBindings: what one depot learned another is told, with its age.
func TestBindings(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Import("FIRST001", "SECOND01") // of one centraltest.Receiver
	b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, "FIRST001", time.Now().Unix())}})
	b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Bindings: []syncapi.Binding{
		{WaybillID: "FIRST001", Exist: true, Age: 100}, {WaybillID: "UNKNOWN1", Exist: true, Age: -5},
	}})
	resp := b.Sync(centraltest.TokenSH, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, "SECOND01", time.Now().Unix())}})
	if k := resp.Waybills[0].Binding; k == nil || !k.Exist || k.Age < 100 || k.Age > 1000 || k.WaybillID != "" {
		t.Fatalf("binding %+v", k)
	}
	b.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 2, Bindings: []syncapi.Binding{{WaybillID: "SECOND01", Exist: false, Age: 1 << 62}}})
	b.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 2, Bindings: []syncapi.Binding{{WaybillID: "SECOND01", Exist: false}}})
	resp = b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, "FIRST001", time.Now().Unix())}})
	if k := resp.Waybills[0].Binding; k == nil || k.Exist || k.Age > 900 {
		t.Fatalf("binding %+v", k)
	}
}

// TestNumbering: the protocol's own answers over HTTP.
func TestNumbering(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	if resp := b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(7, centraltest.Parcel, now)}}); !resp.Rewind || resp.Have != 0 || len(resp.Answers) != 0 {
		t.Fatalf("no rewind: %+v", resp)
	}
	r := syncapi.Request{From: 1, Events: []syncapi.Event{centraltest.Event(3, centraltest.Parcel, now), centraltest.Event(4, centraltest.Parcel, now-60)}}
	first := b.Sync(centraltest.TokenHZ, r)
	wantResults(t, first, syncapi.NoWaybillData, syncapi.Late)
	if n := b.Metric("scanrelay_central_gap_numbers_total"); n != "2" {
		t.Errorf("%s numbers of a gap, want 2", n)
	}
	wantResults(t, b.Sync(centraltest.TokenHZ, r), results(first)...)
	other := centraltest.Event(4, centraltest.Parcel, now)
	other.EventID = "other"
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{other, centraltest.Event(5, centraltest.Parcel, now)}}), syncapi.Conflict, syncapi.Conflict)
	dup := centraltest.Event(4, centraltest.Parcel, now-60)
	dup.Seq = 5
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{Epoch: "00000000000000bb", Events: []syncapi.Event{dup}}), syncapi.Duplicate)
}

// TestEndedEventsOfACopy: what a depot's store has ended is a duplicate to whoever has not,
// under another epoch or, asked about, under the same; nothing else is.
func TestEndedEventsOfACopy(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	const epochB, epochC = "00000000000000bb", "00000000000000cc"
	r := syncapi.Request{From: 1, Finished: 1}
	for seq := range uint64(3) {
		r.Events = append(r.Events, centraltest.Event(seq+1, fmt.Sprint("SF123456789", seq), now))
	}
	has, dup := syncapi.NoWaybillData, syncapi.Duplicate
	wantResults(t, b.Sync(centraltest.TokenHZ, r), has, has, has)
	r.Epoch = epochB // its store was damaged before anything had ended
	wantResults(t, b.Sync(centraltest.TokenHZ, r), has, has, has)
	r.Epoch = ""
	b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 4, Finished: 9}) // cannot be
	b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 4, Finished: 3})
	r.Finished = 3
	wantResults(t, b.Sync(centraltest.TokenHZ, r), has, has, has) // sent again, as after a backup of the centre
	for _, says := range []uint64{0, 1, 2} {
		r.Epoch, r.Finished = epochC, says
		want := []syncapi.Result{dup, dup, has}
		if says == 2 {
			want[0] = has // that is only sent again
		}
		wantResults(t, b.Sync(centraltest.TokenHZ, r), want...)
		ask := syncapi.Request{Epoch: epochC, Finished: says, NextSeq: 5}
		for _, e := range r.Events {
			ask.Ask = append(ask.Ask, syncapi.Ask{Epoch: centraltest.EpochA, Seq: e.Seq, EventID: e.EventID, WaybillID: e.WaybillID})
		}
		wantResults(t, b.Sync(centraltest.TokenHZ, ask), want...)
	}
	if n := b.Metric("scanrelay_central_ended_events_again_total"); n != "10" {
		t.Errorf("%s were noticed", n)
	}
}

func TestZippedAnswer(t *testing.T) {
	b := centraltest.New(t, nil)
	var r syncapi.Request
	for i := range 100 {
		r.Events = append(r.Events, centraltest.Event(uint64(i+1), centraltest.Parcel, 1e9))
	}
	if resp := b.Sync(centraltest.TokenHZ, r); len(resp.Answers) != 100 { // the client asks for gzip
		t.Fatalf("%d answers", len(resp.Answers))
	}
	body, err := json.Marshal(syncapi.Request{V: 1, Epoch: centraltest.EpochA, NextSeq: 101, From: 1, Events: r.Events})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("POST", "/v1/sync", bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+centraltest.TokenHZ)
	req.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, req)
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Cache-Control") != "no-store" || w.Body.Len() > 2000 {
		t.Errorf("headers %v, %d bytes", w.Header(), w.Body.Len())
	}
}

// broken is a store whose disk has failed.
type broken struct{ snapshot.Store }

func (broken) Merge(context.Context, snapshot.Batch) (snapshot.Merged, error) {
	return snapshot.Merged{}, fmt.Errorf("merge batch: %w: %w", snapshot.ErrFailed, syscall.EIO)
}

func (broken) Import(context.Context, []snapshot.Import) (snapshot.Imported, error) {
	return snapshot.Imported{}, snapshot.ErrFailed
}

func (broken) Lookup(context.Context, scan.WaybillID) (snapshot.Waybill, bool, error) {
	return snapshot.Waybill{}, false, snapshot.ErrFailed
}

// TestStoreFails: 503 and nothing answered; WeChat is told to try again.
func TestStoreFails(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) { o.Snapshot = broken{o.Snapshot} })
	_, err := b.TrySync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, 1e9)}})
	var e *syncapi.Error
	if centraltest.Status(err) != 503 || !errors.As(err, &e) || e.RetryAfter == 0 {
		t.Errorf("sync: %v", err)
	}
	if code, out := b.Admin("POST", "/v1/waybills", centraltest.Line(centraltest.Parcel, 1e9)); code != 503 || !strings.Contains(out, "error") {
		t.Errorf("import: %d %s", code, out)
	}
	if code, _ := b.Admin("GET", "/v1/waybills/X", ""); code != 503 {
		t.Errorf("waybill: %d", code)
	}
	if code, _ := b.Call("GET", "/readyz", ""); code != 503 {
		t.Errorf("readyz: %d", code)
	}
	if code, out := b.Call("GET", "/jsonp/waybill?waybill_id=X&phone=1&callback=f", ""); code != 200 || !strings.Contains(out, `"ResultCode":3`) {
		t.Errorf("jsonp: %d %s", code, out)
	}
}

func secretOf(d int) secret.Text { return secret.Text(fmt.Sprintf("token-of-depot-%d", d)) }

// TestManyDepots syncs from many at once; each gets its own answers, and all of
// it is there.
func TestManyDepots(t *testing.T) {
	const depots, rounds, each = 12, 8, 20
	b := centraltest.New(t, func(o *central.Options) {
		o.Config.Depots = nil
		for d := range depots {
			o.Config.Depots = append(o.Config.Depots, central.Depot{ID: scan.DepotID(fmt.Sprintf("d%d", d)), Token: secretOf(d)})
		}
	})
	var all sync.WaitGroup
	for d := range depots {
		all.Go(func() {
			for round := range rounds {
				var r syncapi.Request
				for i := range each {
					r.Events = append(r.Events, centraltest.Event(uint64(round*each+i+1), fmt.Sprintf("W%04d", i), 1e9+int64(round)))
				}
				resp, err := b.TrySync(secretOf(d).Reveal(), r)
				if err != nil || resp.Have != uint64((round+1)*each) || len(resp.Answers) != each {
					t.Errorf("depot %d: %+v, %v", d, resp, err)
					return
				}
			}
		})
	}
	all.Wait()
	for i := range each {
		wb, _, err := b.Store.Lookup(t.Context(), scan.WaybillID(fmt.Sprintf("W%04d", i)))
		if err != nil || len(wb.Nodes) != depots*rounds {
			t.Fatalf("waybill %d has %d nodes, %v", i, len(wb.Nodes), err)
		}
	}
}
