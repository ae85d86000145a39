package central

import (
	"strconv"
	"testing"
	"time"

	"scanrelay/uplink/syncapi"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func results(resp *syncapi.Response) []syncapi.Result {
	var out []syncapi.Result
	for _, a := range resp.Answers {
		out = append(out, a.Result)
	}
	return out
}

// TestOneParcel goes the whole way: an event without waybill data, the data,
// ready, the ask before the push.
func TestOneParcel(t *testing.T) {
	b := newBench(t, nil)
	now := time.Now().Unix()
	resp := b.sync(tokenHZ, syncapi.Request{Events: []syncapi.Event{event(1, "YT1234567890123", now)}, Backlog: 1})
	if got := results(resp); len(got) != 1 || got[0] != syncapi.NoWaybillData || resp.Have != 1 || len(resp.Waybills) != 0 {
		t.Fatalf("first sync: %+v", resp)
	}
	resp = b.sync(tokenHZ, syncapi.Request{NextSeq: 2, Waiting: []string{"YT1234567890123"}})
	if len(resp.Ready) != 0 {
		t.Fatalf("ready before the data came: %v", resp.Ready)
	}
	b.importWaybills("yt1234567890123 ")
	for range 2 { // told again until the depot asks: an answer may get lost
		resp = b.sync(tokenHZ, syncapi.Request{NextSeq: 2})
		if len(resp.Ready) != 1 || resp.Ready[0] != "YT1234567890123" {
			t.Fatalf("ready: %v", resp.Ready)
		}
	}
	resp = b.sync(tokenHZ, syncapi.Request{NextSeq: 2, Ask: []syncapi.Ask{
		{Epoch: epochA, Seq: 1, EventID: event(1, "YT1234567890123", now).EventID, WaybillID: "YT1234567890123"},
		{Epoch: epochA, Seq: 2, EventID: "never", WaybillID: "YT1234567890123"},
	}})
	if got := results(resp); len(got) != 2 || got[0] != syncapi.Taken || got[1] != syncapi.Unknown {
		t.Fatalf("asks: %v", got)
	}
	if len(resp.Waybills) != 1 || resp.Waybills[0].Receiver.Phone != receiver || resp.Waybills[0].Binding != nil {
		t.Fatalf("waybills: %+v", resp.Waybills)
	}
	if len(resp.Ready) != 0 {
		t.Fatalf("ready although the depot has asked: %v", resp.Ready)
	}
	if resp.Rate != 500 {
		t.Errorf("the only depot's share is %v", resp.Rate)
	}
	eventually(t, "a token", func() bool { return b.sync(tokenHZ, syncapi.Request{NextSeq: 2}).Token != nil })
}
