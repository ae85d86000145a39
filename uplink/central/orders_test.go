package central_test

import (
	"fmt"
	"strings"
	"testing"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/order"
)

// TestDeadLetters: an operator's order goes to its depot with each answer until that has
// done it, to no other, and is audited; viewers give none, nor does nonsense.
func TestDeadLetters(t *testing.T) {
	g := newRegistry(t, t.TempDir(), func(o *central.Options) {
		o.Config.Operators = []caller.Operator{{Name: "ops-1", Token: "operator-token-1", Role: caller.Actor}, {Name: "eye-1", Token: "viewer-token-123", Role: caller.Viewer}}
	})
	const path, id = "/v1/depots/hz-01/deadletters", centraltest.EpochA + "-7"
	give := func(token, path, body string) (int, string) {
		return g.Call("POST", path, body, "Authorization", "Bearer "+token)
	}
	if code, _ := give("viewer-token-123", path, `{"ids":"all","action":"retry"}`); code != 403 {
		t.Errorf("a viewer: %d", code)
	}
	if code, _ := give("operator-token-1", "/v1/depots/nowhere/deadletters", `{"ids":"all","action":"retry"}`); code != 404 {
		t.Errorf("an unknown depot: %d", code)
	}
	many := `{"action":"retry","ids":["` + strings.Repeat(id+`","`, order.MaxEvents) + id + `"]}`
	for _, body := range []string{
		``, `[]`, `{}`, `{"action":"retry"}`, `{"action":"retry","ids":[]}`, `{"action":"retry","ids":"none"}`, `{"action":"push","ids":"all"}`,
		`{"action":"discard","ids":"all"}`, `{"action":"retry","ids":["7"]}`, `{"action":"retry","ids":["` + id + `"],"all":true}`, many,
		`{"action":"retry","ids":"all","reason":"` + strings.Repeat("q", 201) + `"}`, `{"action":"retry","ids":["` + strings.Repeat("q", 200<<10) + `"]}`,
	} {
		if code, out := give("operator-token-1", path, body); code != 400 || !strings.Contains(out, `"error"`) || strings.Contains(out, "qqq") {
			t.Errorf("%.60s: %d %s", body, code, out)
		}
	}
	for range 2 { // the same again is the same
		if code, out := give("operator-token-1", path, `{"ids":["`+id+`"],"action":"discard","reason":"returned"}`); code != 200 {
			t.Fatalf("%d %s", code, out)
		}
	}
	var given order.Order
	for range 2 {
		orders := g.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 8}).Orders
		if len(orders) != 1 || orders[0].Do != order.Discard || len(orders[0].Events) != 1 || orders[0].Events[0] != id || orders[0].Reason != "returned" {
			t.Fatalf("the depot is told %+v", orders)
		}
		given = orders[0]
	}
	if other := g.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 1, Done: []order.Done{{ID: given.ID, Count: 1}}}).Orders; len(other) != 0 {
		t.Errorf("another depot is told %+v", other)
	}
	if left := g.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 8, Done: []order.Done{{ID: given.ID, Count: 1}}}).Orders; len(left) != 0 {
		t.Errorf("once it is done: %+v", left)
	}
	v := g.ask("GET", "/v1/depots/hz-01", nil, 200)
	if text := fmt.Sprint(v["orders"]); !strings.Contains(text, given.ID) || !strings.Contains(text, "by:ops-1") || !strings.Contains(text, "count:1") {
		t.Errorf("shown as %s", text)
	}
	if !g.audited("deadletters.discard", "hz-01", "ok") {
		t.Error("it is not audited")
	}
	if all := fmt.Sprint(g.ask("GET", "/v1/audit", nil, 200)); !strings.Contains(all, "who:ops-1") || !strings.Contains(all, "who:depot/hz-01") {
		t.Errorf("the audit log: %s", all)
	}
	if _, err := g.TrySync(centraltest.TokenHZ, syncapi.Request{NextSeq: 8, Done: make([]order.Done, order.MaxOpen+1)}); centraltest.Status(err) != 413 {
		t.Errorf("more than there can be: %v", err)
	}
}
