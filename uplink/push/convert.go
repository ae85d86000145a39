package push

import (
	"scanrelay/agent/scan"
	"scanrelay/wechat"
)

// notification puts an event and its waybill's data, which is the centre's,
// into WeChat's form. Here, and only here, scan meets WeChat's wire types.
func notification(e scan.Event, w scan.Waybill) wechat.Notification {
	return wechat.Notification{
		Path:       node(e),
		Sender:     party(w.Sender),
		Receiver:   party(w.Receiver),
		WaybillID:  string(e.Waybill),
		CreateTime: w.CreateTime,
	}
}

func node(e scan.Event) wechat.Node {
	return wechat.Node{
		ActionTime:           e.ActionTime,
		ActionType:           int(e.ActionType),
		ActionMsg:            e.ActionMsg.Reveal(),
		PickupCourierName:    e.Pickup.Name.Reveal(),
		PickupCourierPhone:   e.Pickup.Phone.Reveal(),
		DeliveryCourierName:  e.Delivery.Name.Reveal(),
		DeliveryCourierPhone: e.Delivery.Phone.Reveal(),
	}
}

func party(p scan.Party) wechat.Party {
	return wechat.Party{
		Name: p.Name.Reveal(), Phone: p.Phone.Reveal(), Province: p.Province.Reveal(), City: p.City.Reveal(),
		Area: p.Area.Reveal(), Street: p.Street.Reveal(), Address: p.Address.Reveal(), ID: p.ID.Reveal(),
	}
}
