package wire_test

import (
	"slices"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/uplink/wire"
	"scanrelay/wechat"
)

func TestNotificationCarriesEverything(t *testing.T) {
	e := scan.Event{
		Waybill: "YT1", ActionType: 300002, ActionTime: 1597396101, ActionMsg: "派件中",
		Pickup: scan.Courier{Name: "a", Phone: "1"}, Delivery: scan.Courier{Name: "b", Phone: "2"},
	}
	p := scan.Party{Name: "n", Phone: "p", Province: "pr", City: "c", Area: "a", Street: "s", Address: "ad", ID: "i"}
	n := wire.Notification(&e, &scan.Waybill{CreateTime: 7, Sender: p, Receiver: scan.Party{Name: "r", Phone: "q", Province: "x", City: "y", Area: "z"}})
	want := wechat.Notification{
		WaybillID: "YT1", CreateTime: 7,
		Path: wechat.Node{
			ActionTime: 1597396101, ActionType: 300002, ActionMsg: "派件中",
			PickupCourierName: "a", PickupCourierPhone: "1", DeliveryCourierName: "b", DeliveryCourierPhone: "2",
		},
		Sender:   wechat.Party{Name: "n", Phone: "p", Province: "pr", City: "c", Area: "a", Street: "s", Address: "ad", ID: "i"},
		Receiver: wechat.Party{Name: "r", Phone: "q", Province: "x", City: "y", Area: "z"},
	}
	if n != want {
		t.Error("the notification differs from the event and its waybill data")
	}
}

// TestPathOfParcels: what several parcels went through is told once, the waybill's
// own nodes and what a parcel went through again always.
func TestPathOfParcels(t *testing.T) {
	node := func(parcel scan.WaybillID, depot scan.DepotID, at int64) scan.PathNode {
		return scan.PathNode{Parcel: parcel, Depot: depot, ActionTime: at, ActionType: scan.ActionTransport, ActionMsg: "到达"}
	}
	path := wire.Path([]scan.PathNode{
		node("A", "hz", 1), node("B", "hz", 2), node("", "hz", 3), node("A", "hz", 4), node("B", "sh", 5), node("A", "sh", 6), node("", "hz", 7),
	})
	var times []int64
	for _, n := range path {
		times = append(times, n.ActionTime)
	}
	if want := []int64{1, 3, 4, 5, 7}; !slices.Equal(times, want) {
		t.Errorf("nodes of %v, want %v", times, want)
	}
}
