package central

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/wechat"
	"scanrelay/wechat/callback"
)

// lookup answers WeChat's reverse lookup with one read (wechat.md section 3.5).
func (c *Central) lookup(ctx context.Context, q callback.Query) callback.Answer {
	wb, ok, err := c.o.Snapshot.Lookup(ctx, scan.NormalizeWaybill(q.WaybillID))
	switch {
	case err != nil:
		return callback.Answer{Code: callback.CodeTryAgain}
	case !ok || wb.Data == nil:
		return callback.Answer{Code: callback.CodeNoWaybill}
	case !samePhone(wb.Data.Receiver.Phone, q.ReceiverPhone):
		return callback.Answer{Code: callback.CodeWrongPhone}
	}
	return callback.Answer{Code: callback.CodeOK, CreateTime: wb.Data.CreateTime, Path: wirePath(wb.Nodes)}
}

// samePhone compares in a time that depends on neither number.
func samePhone(ours scan.Phone, theirs string) bool {
	a := sha256.Sum256([]byte(snapshot.NormalizePhone(ours.Reveal())))
	b := sha256.Sum256([]byte(snapshot.NormalizePhone(theirs)))
	same := subtle.ConstantTimeCompare(a[:], b[:]) == 1
	return same && ours != "" && theirs != ""
}

// wirePath turns a path into WeChat's nodes, in the order of the snapshot.
func wirePath(nodes []scan.PathNode) []wechat.Node {
	out := make([]wechat.Node, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		out[i] = wechat.Node{
			ActionTime: n.ActionTime, ActionType: int(n.ActionType), ActionMsg: n.ActionMsg.Reveal(),
			PickupCourierName: n.Pickup.Name.Reveal(), PickupCourierPhone: n.Pickup.Phone.Reveal(),
			DeliveryCourierName: n.Delivery.Name.Reveal(), DeliveryCourierPhone: n.Delivery.Phone.Reveal(),
		}
	}
	return out
}
