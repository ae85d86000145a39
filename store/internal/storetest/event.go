package storetest

import (
	"time"

	"scanrelay/agent/scan"
)

// FullEvent is an event with everything that an event can have.
func FullEvent() scan.Event {
	e := Event("SF1234567890123", "e-1", 1795000000)
	e.Pickup = scan.Courier{Name: "王五", Phone: "13800138002"}
	e.Delivery = scan.Courier{Name: "赵六"}
	e.Data = &scan.Waybill{
		CreateTime: 1794990000,
		Sender:     scan.Party{Name: "张三", Phone: "13800138001", Province: "浙江省", City: "绍兴市", Area: "柯桥区", Address: "纺都路137号"},
		Receiver:   scan.Party{Name: "李四", Phone: "13800138000", Province: "福建省", City: "泉州市", Area: "晋江市", Street: "x", Address: "y", ID: "z"},
	}
	e.Marks = scan.MarkClock | scan.MarkCut
	e.Weak = scan.WeakKey{1, 2, 3}
	e.Client = 7<<6 | 1
	e.Clockless = &scan.BootTime{Boot: "b1b2", Since: 90 * time.Second}
	return e
}

// Event is an event that was received a second after its action.
func Event(waybill, id string, action int64) scan.Event {
	return scan.Event{
		EventID: id, Waybill: scan.WaybillID(waybill), ActionType: 200001, ActionTime: action,
		ActionMsg: "快件到达 【杭州转运中心】", DeviceID: "gate-3", ReceivedAt: time.Unix(action+1, 0).UTC(),
	}
}
