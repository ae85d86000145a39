package central_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
)

// TestConfigs: an operator puts a configuration, the depots that it is for are told of the
// one that fits best, fetch it, and what they say is shown; others get none.
func TestConfigs(t *testing.T) {
	const viewer, operator = "viewer-token-viewer-token", "operator-token-operator-token"
	b := centraltest.New(t, func(o *central.Options) {
		o.Config.Operators = []caller.Operator{{Name: "v", Token: viewer, Role: caller.Viewer}, {Name: "o", Token: operator, Role: caller.Actor}}
		o.CheckConfig = func(body directive.Body) error {
			if strings.Contains(string(body.Notify), "-1") {
				return errors.New("notify.rate: is below 0")
			}
			return nil
		}
	})
	put := func(want int, token, name, body, says string) {
		t.Helper()
		if code, out := b.Call("PUT", "/v1/configs/"+name, body, "Authorization", "Bearer "+token); code != want || !strings.Contains(out, says) {
			t.Errorf("put %s %s: %d %s", name, body, code, out)
		}
	}
	if d := b.Sync(centraltest.TokenHZ, syncapi.Request{}).Directives; d != nil {
		t.Errorf("before there is one: %+v", d)
	}
	for body, says := range map[string]string{
		`{`: "is not an object", `{"notify":{}}`: "must name an id", `{"selector":{"id":"HZ 01"}}`: "no depot id", `{"selector":{"label":"east"}}`: "key=value",
		`{"selector":{"id":"hz-01"},"central":{"token":"x"}}`: "nothing else can be given", `{"selector":{"id":"hz-01"},"log":{"level":"debug","format":"json"}}`: "only its level",
		`{"selector":{"id":"hz-01"},"stations":{"a":{"pickup_courier_phone":"13800138000"}}}`: "couriers", `{"selector":{"id":"hz-01"},"notify":{"rate":-1}}`: "below 0",
		`{"selector":{"id":"hz-01"},"sources":"` + strings.Repeat("x", directive.MaxBody) + `"}`: "at most",
	} {
		put(400, operator, "one", body, says)
	}
	for _, source := range []string{`"=张三"`, `" = 张三"`, `"/a + =张三"`, `["=x"]`} {
		put(400, operator, "one", `{"selector":{"id":"hz-01"},"sources":[{"topic":"a","fields":{"delivery_\u0063ourier_name":`+source+`}}]}`, "as constants")
	}
	put(200, operator, "named", `{"selector":{"site":"s"},"sources":[{"topic":"a","fields":{"delivery_courier_name":"/a + topic[1]","action_msg":"=x"}}]}`, `"revision":1`)
	put(400, operator, "One", `{"selector":{"id":"hz-01"}}`, "small letters")
	put(403, viewer, "one", `{"selector":{"id":"hz-01"}}`, "role operator")
	put(200, operator, "one", `{"selector":{"id":"hz-01"},"notify":{"rate": 5},"log":{"level":"debug"}}`, `"revision":2`)
	put(200, operator, "one", `{"selector":{"id":"hz-01"},"notify":{"rate": 6}}`, `"revision":3`)
	d := b.Sync(centraltest.TokenHZ, syncapi.Request{Config: &directive.ConfigState{Name: "one", Revision: 3, State: directive.TakenBack, Reason: "no scans"}}).Directives
	if d == nil || d.Config == nil || d.Config.Revision != 3 || d.Update != nil {
		t.Fatalf("the depot is told %+v", d)
	}
	if d := b.Sync(centraltest.TokenSH, syncapi.Request{}).Directives; d != nil {
		t.Errorf("another is told %+v", d)
	}
	get := func(token, revision string) (int, string) {
		return b.Call("GET", "/v1/config?revision="+revision, "", "Authorization", "Bearer "+token)
	}
	code, body := get(centraltest.TokenHZ, "3")
	if sum := sha256.Sum256([]byte(body)); code != 200 || body != `{"notify":{"rate":6}}` || hex.EncodeToString(sum[:]) != d.Config.SHA256 {
		t.Errorf("the configuration: %d %s", code, body)
	}
	for _, c := range []struct {
		token, revision string
		want            int
	}{{centraltest.TokenHZ, "1", 404}, {centraltest.TokenHZ, "", 404}, {centraltest.TokenSH, "3", 404}, {operator, "3", 401}, {"", "3", 401}} {
		if code, _ := get(c.token, c.revision); code != c.want {
			t.Errorf("revision %q: %d", c.revision, code)
		}
	}
	if code, out := b.Call("GET", "/v1/configs", "", "Authorization", "Bearer "+viewer); code != 200 || !strings.Contains(out, `"taken_back":1`) {
		t.Errorf("%d %s", code, out)
	}
	if _, out := b.Call("GET", "/v1/depots/hz-01", "", "Authorization", "Bearer "+viewer); !strings.Contains(out, `"reason":"no scans"`) {
		t.Errorf("the depot: %s", out)
	}

	// A name is forgotten once it gives nothing any more, and only by who may.
	remove := func(want int, token, name, says string) {
		t.Helper()
		if code, out := b.Call("DELETE", "/v1/configs/"+name, "", "Authorization", "Bearer "+token); code != want || !strings.Contains(out, says) {
			t.Errorf("delete %s: %d %s", name, code, out)
		}
	}
	remove(403, viewer, "one", "role operator")
	remove(404, operator, "two", "no configuration of that name")
	remove(400, operator, "one", "so that gateways take it back")
	put(200, operator, "one", `{"selector":{"id":"hz-01"}}`, `"revision":4`)
	remove(200, operator, "one", "")
	remove(404, operator, "one", "no configuration of that name")
	if d := b.Sync(centraltest.TokenHZ, syncapi.Request{}).Directives; d != nil {
		t.Errorf("of a name that is gone: %+v", d)
	}
	if _, out := b.Call("GET", "/v1/configs", "", "Authorization", "Bearer "+viewer); strings.Contains(out, `"one"`) || !strings.Contains(out, `"named"`) {
		t.Errorf("the list: %s", out)
	}
	put(200, operator, "one", `{"selector":{"id":"hz-01"}}`, `"revision":5`) // they only rise
}
