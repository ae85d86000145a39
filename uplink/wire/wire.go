package wire

import (
	"scanrelay/agent/scan"
	"scanrelay/wechat"
)

// Notification puts an event and its waybill's data, which is the centre's,
// into WeChat's form.
func Notification(e *scan.Event, w *scan.Waybill) wechat.Notification {
	return wechat.Notification{
		Path:       Node(e.PathNode("")),
		Sender:     party(w.Sender),
		Receiver:   party(w.Receiver),
		WaybillID:  string(e.Waybill),
		CreateTime: w.CreateTime,
	}
}

// Path puts a waybill's path into WeChat's form, in the same order. What several
// parcels of a shipment went through in one depot is told once, by the first.
func Path(nodes []scan.PathNode) []wechat.Node {
	type step struct {
		depot  scan.DepotID
		action scan.ActionType
		msg    scan.Text
	}
	first := map[step]scan.WaybillID{}
	out := make([]wechat.Node, 0, len(nodes))
	for i := range nodes {
		if n := &nodes[i]; n.Parcel != "" {
			s := step{n.Depot, n.ActionType, n.ActionMsg}
			if by, told := first[s]; told && by != n.Parcel {
				continue
			}
			first[s] = n.Parcel
		}
		out = append(out, Node(nodes[i]))
	}
	return out
}

// Node puts one node into WeChat's form.
func Node(n scan.PathNode) wechat.Node {
	return wechat.Node{
		ActionTime:           n.ActionTime,
		ActionType:           int(n.ActionType),
		ActionMsg:            n.ActionMsg.Reveal(),
		PickupCourierName:    n.Pickup.Name.Reveal(),
		PickupCourierPhone:   n.Pickup.Phone.Reveal(),
		DeliveryCourierName:  n.Delivery.Name.Reveal(),
		DeliveryCourierPhone: n.Delivery.Phone.Reveal(),
	}
}

func party(p scan.Party) wechat.Party {
	return wechat.Party{
		Name: p.Name.Reveal(), Phone: p.Phone.Reveal(), Province: p.Province.Reveal(), City: p.City.Reveal(),
		Area: p.Area.Reveal(), Street: p.Street.Reveal(), Address: p.Address.Reveal(), ID: p.ID.Reveal(),
	}
}
