package callback

import (
	"context"
	"strings"
)

// ask answers a reverse lookup and reports whether Lookup was asked. When too
// many are under way it says so at once: a late answer is worse than none.
func (h *Handler) ask(ctx context.Context, m message) (a Answer, asked bool) {
	id := strings.TrimSpace(m["WaybillId"])
	if id == "" || len(id) > maxWaybill {
		return Answer{Code: CodeNoWaybill}, true
	}
	select {
	case h.slots <- struct{}{}:
	default:
		return Answer{Code: CodeTryAgain}, false
	}
	defer func() { <-h.slots }()
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	a = h.lookup(ctx, Query{WaybillID: id, SenderPhone: m["SenderPhone"], ReceiverPhone: m["ReceiverPhone"]})
	if ctx.Err() != nil {
		return Answer{Code: CodeTryAgain}, true
	}
	return a, true
}
