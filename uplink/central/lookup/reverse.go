package lookup

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/wire"
	"scanrelay/wechat/callback"
)

// Source is what is looked up in; a snapshot.Store is one.
type Source interface {
	Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error)
}

// refusalTime is when a refusal is answered, counted from the call: well above
// what reading the longest path takes, so that the time tells nothing about the
// waybill to somebody who does not know its phone.
const refusalTime = 5 * time.Millisecond

// holdRefusal waits until refusalTime after began, or until ctx ends.
func holdRefusal(ctx context.Context, began time.Time) {
	wait.Sleep(ctx, time.Until(began.Add(refusalTime)))
}

// Reverse answers WeChat's reverse lookups (wechat/README.md).
func Reverse(from Source) callback.Lookup {
	return func(ctx context.Context, q callback.Query) callback.Answer {
		began := time.Now()
		a := find(ctx, from, q)
		if a.Code == callback.CodeNoWaybill || a.Code == callback.CodeWrongPhone {
			holdRefusal(ctx, began)
		}
		return a
	}
}

func find(ctx context.Context, from Source, q callback.Query) callback.Answer {
	wb, ok, err := from.Lookup(ctx, scan.NormalizeWaybill(q.WaybillID))
	switch {
	case err != nil:
		return callback.Answer{Code: callback.CodeTryAgain}
	case !ok || wb.Data == nil:
		return callback.Answer{Code: callback.CodeNoWaybill}
	case !samePhone(wb.Data.Receiver.Phone, q.ReceiverPhone):
		return callback.Answer{Code: callback.CodeWrongPhone}
	}
	return callback.Answer{Code: callback.CodeOK, CreateTime: wb.Data.CreateTime, Path: wire.Path(wb.Nodes)}
}

// samePhone reports whether theirs is the whole of our number.
func samePhone(ours scan.Phone, theirs string) bool {
	same := sameText(snapshot.NormalizePhone(ours.Reveal()), snapshot.NormalizePhone(theirs))
	return same == 1 && ours != "" && theirs != ""
}

// phoneMatches reports whether theirs is our number, or its last four digits.
func phoneMatches(ours scan.Phone, theirs string) bool {
	whole, given := snapshot.NormalizePhone(ours.Reveal()), snapshot.NormalizePhone(theirs)
	same := sameText(whole, given) | sameText(whole[max(0, len(whole)-4):], given)
	return same == 1 && len(whole) >= 7
}

// sameText compares in a time that depends on neither text.
func sameText(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}
