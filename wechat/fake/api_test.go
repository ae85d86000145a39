package fake_test

import (
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"scanrelay/wechat/fake"
)

func TestFieldsAreRequired(t *testing.T) {
	in := func(key string) func(map[string]any) map[string]any {
		return func(m map[string]any) map[string]any {
			if key == "" {
				return m
			}
			return m[key].(map[string]any)
		}
	}
	type change struct {
		at, key string
		value   any // nil: left out
	}
	for _, c := range []change{
		{"", "waybill_id", nil}, {"", "waybill_id", ""}, {"", "waybill_id", int64(78636098066239)},
		{"", "create_time", nil}, {"", "create_time", 0}, {"", "create_time", "1790000000"}, {"", "create_time", testTime * 1000},
		{"", "sender", nil}, {"", "receiver", nil}, {"", "path", nil}, {"", "path", []any{}},
		{"sender", "province", nil}, {"sender", "city", ""}, {"sender", "area", nil},
		{"receiver", "name", nil}, {"receiver", "phone", nil}, {"receiver", "phone", ""}, {"receiver", "phone", "138******00"},
		{"receiver", "province", nil}, {"receiver", "city", nil}, {"receiver", "area", ""},
		{"path", "action_time", nil}, {"path", "action_time", testTime * 1000}, {"path", "action_time", 1.5},
		{"path", "action_type", nil}, {"path", "action_type", 300001}, {"path", "action_type", "300002"},
		{"path", "action_msg", nil}, {"path", "action_msg", ""}, {"path", "action_msg", "电话139******00"},
		{"path", "delivery_courier_name", 5},
	} {
		s, front, _ := newPair(t, fake.Options{BoundByDefault: true})
		push := goodPush()
		m := in(c.at)(push)
		if m[c.key] = c.value; c.value == nil {
			delete(m, c.key)
		}
		a, err := notify(t, front, push)
		if err != nil || a.Errcode != 40097 || len(s.Pushes())+len(s.Lookups()) != 0 {
			t.Errorf("%s.%s = %v: %+v, %v", c.at, c.key, c.value, a, err)
		}
	}
	// What is not required may be missing.
	s, front, c := newPair(t, fake.Options{BoundByDefault: true})
	push := goodPush()
	maps.DeleteFunc(push["sender"].(map[string]any), func(k string, _ any) bool { return k == "name" || k == "phone" })
	if a, err := notify(t, front, push); err != nil || a.Errcode != 0 || c.asked[0]["SenderPhone"] != "" {
		t.Errorf("without the sender's name and phone: %+v, %v, %+v", a, err, s.Calls())
	}
}

func TestHTTPForm(t *testing.T) {
	s, front, _ := newPair(t, fake.Options{})
	token := getToken(t, front, false).AccessToken
	url := front.URL + "/cgi-bin/express/delivery/userquery?access_token=" + token
	for _, c := range []struct {
		contentType, body string
		code              int
	}{
		{"application/json", `{"phone":"13800138000"}`, 0},
		{"application/json; charset=utf-8", `{"phone":"13800138000"}`, 0},
		{"text/plain", `{"phone":"13800138000"}`, 47001},
		{"", `{"phone":"13800138000"}`, 47001},
		{"application/json", "", 44002},
		{"application/json", "[]", 47001},
		{"application/json", `{"phone":"13800138000"`, 47001},
		{"application/json", "{\"phone\":\"\xff\"}", 47001},
		{"application/json", `{"phone":13800138000}`, 40097},
		{"application/json", `{"Phone":"13800138000"}`, 40097},
		{"application/json", strings.Repeat(" ", 2<<20), 47001},
	} {
		if a, err := call(t, url, c.contentType, c.body); err != nil || a.Errcode != c.code {
			t.Errorf("%q %.40q: %+v, %v, want %d", c.contentType, c.body, a, err, c.code)
		}
	}
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if s.Count(fake.UserQuery, 43002) != 1 {
		t.Error("GET was not refused with 43002")
	}
}

func TestUserQuery(t *testing.T) {
	s, front, _ := newPair(t, fake.Options{})
	s.Bind("13900139000", true)
	url := front.URL + "/cgi-bin/express/delivery/userquery?access_token=" + getToken(t, front, false).AccessToken
	for phone, want := range map[string]int{"13900139000": 1, "13800138000": 0} {
		a, err := call(t, url, "application/json", map[string]string{"phone": phone})
		if err != nil || a.Errcode != 0 || a.Exist == nil || *a.Exist != want {
			t.Errorf("%s: %+v, %v, want %d", phone, a, err, want)
		}
	}
	if a, _ := call(t, url, "application/json", map[string]string{"phone": "139******00"}); a.Errcode != 40097 {
		t.Errorf("a masked phone: %+v", a)
	}
	if len(s.Lookups()) != 0 {
		t.Error("userquery made a lookup")
	}
}

func TestTokenLife(t *testing.T) {
	now := time.Unix(testTime, 0)
	s, front, _ := newPair(t, fake.Options{BoundByDefault: true, Now: func() time.Time { return now }})
	check := func(token string, want int) {
		t.Helper()
		a, err := call(t, front.URL+"/cgi-bin/express/delivery/userquery?access_token="+token, "application/json", map[string]string{"phone": testPhone})
		if err != nil || a.Errcode != want {
			t.Errorf("%+v, %v, want %d", a, err, want)
		}
		if want != 0 && !regexp.MustCompile(` rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`).MatchString(a.Errmsg) {
			t.Errorf("errmsg %q", a.Errmsg)
		}
	}
	first := getToken(t, front, false)
	if first.ExpiresIn != 7200 || len(first.AccessToken) < 100 {
		t.Fatalf("%+v", first)
	}
	check("", 41001)
	check("never-issued", 40001)
	check("not%20a%20token", 40014)
	now = now.Add(6899 * time.Second)
	if same := getToken(t, front, false); same.AccessToken != first.AccessToken || same.ExpiresIn != 301 {
		t.Errorf("normal mode: another token, or %d s", same.ExpiresIn)
	}
	now = now.Add(time.Second)
	second := getToken(t, front, false)
	if second.AccessToken == first.AccessToken || second.ExpiresIn != 7200 {
		t.Error("in the last five minutes there is no new token")
	}
	check(first.AccessToken, 0)
	check(second.AccessToken, 0)
	now = now.Add(5 * time.Minute)
	check(first.AccessToken, 42001)
	check(second.AccessToken, 0)
	s.RotateToken()
	check(second.AccessToken, 40001)
	check(getToken(t, front, false).AccessToken, 0)
}

func TestForceRefresh(t *testing.T) {
	now := time.Unix(testTime, 0)
	_, front, _ := newPair(t, fake.Options{Now: func() time.Time { return now }})
	old := getToken(t, front, false).AccessToken
	forced := getToken(t, front, true)
	if forced.AccessToken == "" || forced.AccessToken == old {
		t.Fatalf("%+v", forced)
	}
	url := front.URL + "/cgi-bin/express/delivery/userquery?access_token="
	if a, _ := call(t, url+old, "application/json", map[string]string{"phone": testPhone}); a.Errcode != 40001 {
		t.Errorf("the old one lives on: %+v", a)
	}
	if a := getToken(t, front, true); a.Errcode != 45011 {
		t.Errorf("twice within 30 s: %+v", a)
	}
	for i := range 19 {
		now = now.Add(31 * time.Second)
		if a := getToken(t, front, true); a.Errcode != 0 {
			t.Fatalf("force %d: %+v", i+2, a)
		}
	}
	now = now.Add(31 * time.Second)
	if a := getToken(t, front, true); a.Errcode != 45009 {
		t.Errorf("the 21st of the day: %+v", a)
	}
}

func TestTokenRefusals(t *testing.T) {
	_, front, _ := newPair(t, fake.Options{})
	for _, c := range []struct {
		grant, appid, secret string
		code                 int
	}{
		{"client_credential", fake.DefaultAppID, "wrong", 40125},
		{"client_credential", "wx0", fake.DefaultSecret, 40013},
		{"client_credential", "", fake.DefaultSecret, 41002},
		{"client_credential", fake.DefaultAppID, "", 41004},
		{"password", fake.DefaultAppID, fake.DefaultSecret, 40002},
	} {
		a, err := call(t, front.URL+"/cgi-bin/stable_token", "application/json",
			map[string]any{"grant_type": c.grant, "appid": c.appid, "secret": c.secret})
		if err != nil || a.Errcode != c.code || a.AccessToken != "" {
			t.Errorf("%+v: %+v, %v", c, a, err)
		}
	}
}

func TestQuotas(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 59, 30, 0, time.UTC) // 23:59:30 in Beijing
	_, front, _ := newPair(t, fake.Options{Now: func() time.Time { return now },
		Quotas: map[fake.API]fake.Quota{fake.UserQuery: {PerSecond: 2, PerMinute: 3, PerDay: 4}}})
	token := getToken(t, front, false).AccessToken
	ask := func() answerOf {
		t.Helper()
		a, err := call(t, front.URL+"/cgi-bin/express/delivery/userquery?access_token="+token, "application/json", map[string]string{"phone": testPhone})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := func(status, code int) {
		t.Helper()
		if a := ask(); a.status != status || a.Errcode != code || (status == 429) != (a.header.Get("Retry-After") == "1") {
			t.Errorf("%d %d %v, want %d %d", a.status, a.Errcode, a.header, status, code)
		}
	}
	want(200, 0)
	want(200, 0)
	want(429, 0)
	now = now.Add(time.Second)
	want(200, 0)
	want(200, 45011)
	now = now.Add(29 * time.Second) // a new minute, and a new day in Beijing
	want(200, 0)
	a, err := call(t, front.URL+"/cgi-bin/openapi/quota/get?access_token="+token, "application/json", map[string]string{"cgi_path": "/cgi-bin/express/delivery/userquery"})
	if err != nil || a.Quota["daily_limit"] != 4 || a.Quota["used"] != 1 || a.Quota["remain"] != 3 {
		t.Errorf("quota %+v, %v", a, err)
	}
	for range 3 {
		now = now.Add(time.Minute)
		want(200, 0)
	}
	now = now.Add(time.Minute)
	want(200, 45009)
}

func TestPageMasks(t *testing.T) {
	_, front, _ := newPair(t, fake.Options{BoundByDefault: true})
	if a, err := notify(t, front, goodPush()); err != nil || a.Errcode != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, path := range []string{"/", "/pushes"} {
		resp, err := http.Get(front.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b := new(strings.Builder)
		resp.Write(b)
		resp.Body.Close()
		if !strings.Contains(b.String(), testWaybill) || strings.Contains(b.String(), testPhone) || strings.Contains(b.String(), "13900139000") {
			t.Errorf("%s:\n%s", path, b)
		}
	}
}
