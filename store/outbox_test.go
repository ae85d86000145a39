package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

func event(waybill, id string, action int64) scan.Event {
	return scan.Event{
		EventID: id, Waybill: scan.WaybillID(waybill), ActionType: 200001, ActionTime: action,
		ActionMsg: "快件到达 【杭州转运中心】", DeviceID: "gate-3", ReceivedAt: time.Unix(action+1, 0).UTC(),
	}
}

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	o, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i := range 10 {
		if _, err := o.Append(ctx, scan.Batch{Events: []scan.Event{event(fmt.Sprint("W", i%3), fmt.Sprint("e", i), 1700000000+int64(i))}}); err != nil {
			t.Fatal(err)
		}
	}
	u, err := o.Unsynced(100, 1<<20)
	if err != nil || len(u) != 10 {
		t.Fatal(len(u), err)
	}
	if err := o.Synced(10, []Settlement{{Seq: 1, Outcome: Superseded}}, []uint64{2, 5, 8}); err != nil {
		t.Fatal(err)
	}
	r, err := o.Lease(10, time.Minute)
	fmt.Println(len(r), err)
	for _, x := range r {
		if err := o.Settle(ctx, []Settlement{{Seq: x.ID.Seq, Outcome: Pushed, Attempts: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("%+v\n", o.Counts())
	if err := o.Close(ctx); err != nil {
		t.Fatal(err)
	}
	o, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%+v\n", o.Counts())
	o.Scan(ctx, Filter{}, func(r Record) error { fmt.Println(r.ID, r.State, r.Event.Waybill, r.FinishedAt); return nil })
	if err := o.Close(ctx); err != nil {
		t.Fatal(err)
	}
	rd, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%+v\n", rd.Counts())
	rd.Close()
}
