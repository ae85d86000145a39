package central_test

import (
	"encoding/json"
	"testing"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
)

// TestAdminOnly: what needs the admin token does not open without it.
func TestAdminOnly(t *testing.T) {
	b := centraltest.New(t, nil)
	closed := centraltest.New(t, func(o *central.Options) { o.Config.AdminToken = "" })
	for _, c := range []struct{ method, path string }{{"POST", "/v1/waybills"}, {"GET", "/v1/waybills/W1"}, {"GET", "/"}} {
		for _, authorization := range []string{"", "Bearer ", "Bearer wrong", "Bearer " + centraltest.TokenHZ, "Basic eDp3cm9uZw=="} {
			if code, _ := b.Call(c.method, c.path, "", "Authorization", authorization); code != 401 {
				t.Errorf("%s %s with %q: %d", c.method, c.path, authorization, code)
			}
			if code, _ := closed.Call(c.method, c.path, "", "Authorization", authorization); code != 403 {
				t.Errorf("%s %s where there is no admin token, with %q: %d", c.method, c.path, authorization, code)
			}
		}
	}
	if code, _ := b.Call("GET", "/v1/waybills/W1", "", "Authorization", "Basic eDphZG1pbi1zZWNyZXQ="); code != 404 {
		t.Errorf("the admin token as a password: %d", code)
	}
}

func FuzzSync(f *testing.F) {
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","next_seq":2,"from":1,"events":[{"seq":1,"event_id":"e","waybill_id":"W1","action_time":1,"action_type":200001,"action_msg":"x"}],"backlog":-1}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","ask":[{"epoch":"00000000000000aa"}],"waiting":[""],"bindings":[{"age":-1}],"bad_token":"x"}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","next_seq":18446744073709551615,"from":18446744073709551615}`))
	b := centraltest.New(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		code, out := b.In(t).Call("POST", "/v1/sync", string(body), "Authorization", "Bearer "+centraltest.TokenHZ)
		if code != 200 && code != 400 && code != 413 && code != 501 || !json.Valid([]byte(out)) {
			t.Fatalf("%d %s", code, out)
		}
	})
}
