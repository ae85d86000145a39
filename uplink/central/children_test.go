package central_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
)

// shipment is a line of an import with numbers of parcels.
func shipment(id, children string) string {
	return strings.Replace(centraltest.Line(id, time.Now().Unix()-3600), `"create_time"`, `"children":`+children+`,"create_time"`, 1)
}

// TestChildren: a number that waited is told to be a parcel's, before and after the
// depot declares it, and its scans stand in the path of the waybill.
func TestChildren(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	req := syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, "CHILD01", now)}, Waiting: []scan.WaybillID{"CHILD01"}}
	wantResults(t, b.Sync(centraltest.TokenHZ, req), syncapi.NoWaybillData)
	body := shipment(centraltest.Parcel, `[" child01","CHILD02","CHILD02"]`) + "\n" + shipment("OTHER99", `["CHILD03","CHILD02"]`) + "\n" + shipment("OTHER98", `["A B"]`)
	code, out := b.Admin("POST", "/v1/waybills", body)
	var got waybills.Imported
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 200 || got.Stored != 1 || len(got.Rejected) != 2 || len(got.UnknownKeys) > 0 {
		t.Fatalf("%d %s", code, out)
	}
	if r := got.Rejected[1]; r.Line != 2 || r.WaybillID != "OTHER99" || !strings.Contains(r.Error, "CHILD02 is a parcel of waybill "+centraltest.Parcel) {
		t.Errorf("rejected %+v", r)
	}
	for _, waiting := range [][]scan.WaybillID{nil, {"CHILD01"}} {
		resp := b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Waiting: waiting})
		if len(resp.Ready) == 0 || resp.Ready[0] != "CHILD01" {
			t.Fatalf("ready %v, waiting %v", resp.Ready, waiting)
		}
	}
	resp := b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Ask: []syncapi.Ask{
		{Epoch: centraltest.EpochA, Seq: 1, EventID: req.Events[0].EventID, WaybillID: "CHILD01"},
	}})
	wantResults(t, resp, syncapi.Late)
	if a := resp.Answers[0]; !strings.Contains(a.Reason, "a parcel's number") || len(resp.Waybills) > 0 {
		t.Errorf("answer %+v, waybills %+v", a, resp.Waybills)
	}
	resp = b.Sync(centraltest.TokenSH, syncapi.Request{Events: []syncapi.Event{
		centraltest.Event(1, "CHILD02", now), centraltest.Event(2, centraltest.Parcel, now-60),
	}})
	wantResults(t, resp, syncapi.Late, syncapi.Taken)
	if len(resp.Waybills) != 1 || resp.Waybills[0].WaybillID != centraltest.Parcel {
		t.Errorf("waybills %+v", resp.Waybills)
	}
	var v waybills.View
	code, out = b.Admin("GET", "/v1/waybills/"+centraltest.Parcel, "")
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 200 || len(v.Nodes) != 3 || v.Nodes[0].Parcel != "CHILD01" || v.Nodes[2].Parcel != "" {
		t.Errorf("%d %s", code, out)
	}
	if code, same := b.Admin("GET", "/v1/waybills/child02", ""); code != 200 || same != out {
		t.Errorf("by a parcel's number: %d %s", code, same)
	}
}
