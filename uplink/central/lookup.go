package central

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/wechat"
	"scanrelay/wechat/callback"
)

// refusalTime is when a refusal is answered, counted from the call: well above
// what reading the longest path takes, so that the time tells nothing about the
// waybill to somebody who does not know its phone.
const refusalTime = 5 * time.Millisecond

// holdRefusal waits until refusalTime after began, or until ctx ends.
func holdRefusal(ctx context.Context, began time.Time) {
	t := time.NewTimer(time.Until(began.Add(refusalTime)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// lookup answers WeChat's reverse lookup (wechat.md section 3.5).
func (c *Central) lookup(ctx context.Context, q callback.Query) callback.Answer {
	began := time.Now()
	a := c.find(ctx, q)
	if a.Code == callback.CodeNoWaybill || a.Code == callback.CodeWrongPhone {
		holdRefusal(ctx, began)
	}
	return a
}

// find looks the waybill up with one read.
func (c *Central) find(ctx context.Context, q callback.Query) callback.Answer {
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
