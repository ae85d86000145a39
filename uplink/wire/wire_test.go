package wire_test

import (
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
