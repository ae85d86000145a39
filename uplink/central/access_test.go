package central_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
)

// TestAdminOnly: what needs the admin token does not open without it.
func TestAdminOnly(t *testing.T) {
	b := centraltest.New(t, nil)
	closed := centraltest.New(t, func(o *central.Options) { o.Config.AdminToken = "" })
	for _, c := range []struct{ method, path string }{{"POST", "/v1/waybills"}, {"GET", "/v1/waybills/W1"}, {"GET", "/"}, {"GET", "/metrics"}} {
		for _, authorization := range []string{"", "Bearer wrong", "Basic eDphZG1pbi1zZWNyZXQ="} {
			if code, _ := b.Call(c.method, c.path, "", "Authorization", authorization); code != 401 {
				t.Errorf("%s %s with %q: %d", c.method, c.path, authorization, code)
			}
			if code, _ := closed.Call(c.method, c.path, "", "Authorization", authorization); code != 403 {
				t.Errorf("%s %s where there is no admin token, with %q: %d", c.method, c.path, authorization, code)
			}
		}
	}
}

// TestSessionsAreNoGuess: whoever guesses a token right cannot make a session of it
// himself: those are not bounded, as wrong tokens are.
func TestSessionsAreNoGuess(t *testing.T) {
	b := centraltest.New(t, nil)
	key := sha256.Sum256([]byte("scanrelay browser sessions " + centraltest.AdminToken))
	text := fmt.Sprintf("%d.%s.XYZ", time.Now().Add(time.Hour).Unix(), base64.RawURLEncoding.EncodeToString([]byte("admin")))
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("session\x00" + text))
	cookie := "scanrelay_session=" + text + "." + hex.EncodeToString(mac.Sum(nil))
	if code, _ := b.Call("GET", "/metrics", "", "Cookie", cookie); code != 401 {
		t.Errorf("a session of the guesser's own making: %d", code)
	}
}

// TestGuessing: an address that guesses is shut out, which is told and counted, and
// others are not.
func TestGuessing(t *testing.T) {
	var log locked
	b := centraltest.New(t, func(o *central.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	as := func(address, path, token string) int {
		code, _ := b.Call("GET", path, "", "X-Forwarded-For", address, "Authorization", "Bearer "+token)
		return code
	}
	answered := 0
	for i := range 200 {
		if as("203.0.113.9", "/metrics", fmt.Sprint("guess-", i)) == 401 {
			answered++
		}
	}
	if answered > 12 {
		t.Errorf("%d of 200 guesses were looked at", answered)
	}
	if code := as("203.0.113.9", "/", centraltest.AdminToken); code != 429 {
		t.Errorf("the right one among the guesses: %d", code)
	}
	if code := as("203.0.113.10", "/", centraltest.AdminToken); code != 200 {
		t.Errorf("an administrator elsewhere: %d", code)
	}
	for range 130 {
		if code, _ := b.Call("POST", "/v1/sync", "{}", "X-Forwarded-For", "203.0.113.9", "Authorization", "Bearer guess"); code == 429 {
			answered = -1
			break
		}
	}
	if answered != -1 {
		t.Error("depots' tokens can be guessed without end")
	}
	if !strings.Contains(log.String(), "a wrong credential was sent") || !strings.Contains(log.String(), "203.0.113.9") || strings.Contains(log.String(), "guess-") {
		t.Errorf("the log: %s", log.String())
	}
	if n := b.Metric(`scanrelay_central_wrong_credentials_total{kind="admin"}`); n != "201" {
		t.Errorf("%s wrong ones are counted", n)
	}
}

// TestOperatorsApart: with a listener of their own nothing of theirs is on the one
// that WeChat reaches.
func TestOperatorsApart(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) { o.Config.OpsApart = true })
	for path, inside := range map[string]int{"/": 200, "/metrics": 200, "/readyz": 200, "/healthz": 200, "/v1/waybills/W1": 404} {
		outside, _ := b.Admin("GET", path, "")
		r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
		if path == "/" || path == "/v1/waybills/W1" {
			r.Header.Set("Authorization", "Bearer "+centraltest.AdminToken)
		}
		b.Ops().ServeHTTP(w, r)
		if w.Code != inside || (outside != 404) != (path == "/healthz") {
			t.Errorf("%s: %d for operators, %d outside", path, w.Code, outside)
		}
	}
}

// TestBrowserOnlyLooks: the session that a browser gets for the admin token opens
// what shows, nothing that changes; no page of another site can make it do more.
func TestBrowserOnlyLooks(t *testing.T) {
	now := time.Now()
	b := centraltest.New(t, func(o *central.Options) { o.Now = func() time.Time { return now } })
	b.Import("W1")
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := func(path, body string, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequest("POST", b.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := post("/signin", "token=wrong", form...); resp.StatusCode != 401 || len(resp.Cookies()) != 0 {
		t.Errorf("signed in with a wrong token: %d %v", resp.StatusCode, resp.Cookies())
	}
	if resp := post("/signin", "token="+centraltest.AdminToken, append(form, "Sec-Fetch-Site", "cross-site")...); resp.StatusCode != 403 {
		t.Errorf("another site's page signs in: %d", resp.StatusCode)
	}
	resp := post("/signin", "token="+centraltest.AdminToken, form...)
	if resp.StatusCode != 303 || len(resp.Cookies()) != 1 {
		t.Fatalf("sign in: %d %v", resp.StatusCode, resp.Cookies())
	}
	cookie := resp.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode {
		t.Errorf("the session's cookie is %v", cookie)
	}
	as := []string{"Cookie", cookie.Name + "=" + cookie.Value}
	for path, want := range map[string]int{"/": 200, "/v1/waybills/W1": 200} {
		if code, _ := b.Call("GET", path, "", as...); code != want {
			t.Errorf("GET %s with a session: %d", path, code)
		}
	}
	if code, _ := b.Call("POST", "/v1/waybills", centraltest.Line("W1", now.Unix()), as...); code != 401 {
		t.Errorf("a session imports: %d", code)
	}
	_, page := b.Call("GET", "/", "", as...)
	_, rest, _ := strings.Cut(page, `name="form_token" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	for why, body := range map[string]string{"no token": "", "another's token": "form_token=" + strings.Repeat("0", len(token))} {
		if resp := post("/signout", body, append(form, as...)...); resp.StatusCode != 403 {
			t.Errorf("signed out with %s: %d", why, resp.StatusCode)
		}
	}
	if resp := post("/signout", "form_token="+token, append(form, as...)...); resp.StatusCode != 303 || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign out: %d %v", resp.StatusCode, resp.Cookies())
	}
	for _, value := range []string{"", ".", "..", cookie.Value + "0", "9" + cookie.Value, cookie.Value[1:]} {
		if code, _ := b.Call("GET", "/", "", "Cookie", cookie.Name+"="+value); code != 401 {
			t.Errorf("a forged session %q: %d", value, code)
		}
	}
	now = now.Add(13 * time.Hour)
	if code, _ := b.Call("GET", "/", "", as...); code != 401 {
		t.Errorf("the session of yesterday: %d", code)
	}
}

func FuzzSync(f *testing.F) {
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","next_seq":2,"from":1,"events":[{"seq":1,"event_id":"e","waybill_id":"W1","action_time":1,"action_type":200001,"action_msg":"x"}],"backlog":-1}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","ask":[{"epoch":"00000000000000aa"}],"waiting":[""],"bindings":[{"age":-1}],"bad_token":"x"}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","next_seq":18446744073709551615,"from":18446744073709551615}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","agent":"1.0.0","update":{"version":"1.0.0","state":"idle","since":-1,"restarts":-1},"config":{"name":"n","revision":1,"state":"applied"}}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","done":[{"id":"x","count":-1}],"looked":[{"waybill_id":"W1","event_id":"e","time":-1}],"update":null}`))
	f.Add([]byte(`{"v":9,"events":5,"update":{"version":"","state":"rolled_back","target":"1.1.0","verdict":"bad"}}`))
	b := centraltest.New(f, func(o *central.Options) { o.Config.Updates.Dir = repository(f, "1.1.0") })
	if code, out := b.Admin("POST", "/v1/rollouts", `{"version":"1.1.0","rings":[1],"soak_seconds":3600,"halt_at":0.5}`); code != 200 {
		f.Fatal(out)
	}
	if code, out := b.Call("PUT", "/v1/configs/n", `{"selector":{"id":"hz-01"}}`, "Authorization", "Bearer "+centraltest.AdminToken); code != 200 {
		f.Fatal(out)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		code, out := b.In(t).Call("POST", "/v1/sync", string(body), "Authorization", "Bearer "+centraltest.TokenHZ)
		if code != 200 && code != 400 && code != 413 && code != 409 || !json.Valid([]byte(out)) {
			t.Fatalf("%d %s", code, out)
		}
	})
}

// TestGuessesBesideDepots: whoever guesses from the address that depots come from,
// as behind a proxy, shuts out none whose token cannot be guessed.
func TestGuessesBesideDepots(t *testing.T) {
	const long = "a-token-that-nobody-guesses"
	b := centraltest.New(t, func(o *central.Options) {
		o.Config.Depots = append(o.Config.Depots, central.Depot{ID: "bj-01", Token: long})
	})
	as := func(token string) int {
		code, _ := b.Call("POST", "/v1/sync", "{}", "Authorization", "Bearer "+token)
		return code
	}
	for i := range 200 {
		as(fmt.Sprint("guess-", i))
	}
	for token, want := range map[string]int{long: 409, long + "x": 429, centraltest.TokenHZ: 429} { // 409: let in, with an empty body
		if code := as(token); code != want {
			t.Errorf("the token of %d characters: %d, want %d", len(token), code, want)
		}
	}
}
