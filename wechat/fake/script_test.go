package fake_test

import (
	"strings"
	"testing"
	"time"

	"scanrelay/wechat/fake"
)

func parse(t *testing.T, text string) fake.Script {
	t.Helper()
	s, err := fake.ParseScript([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScriptByCount(t *testing.T) {
	s, front, _ := newPair(t, fake.Options{BoundByDefault: true, Script: parse(t, `
faults:
  - {api: pathnotify, skip: 1, count: 2, errcode: -1}
  - {api: pathnotify, skip: 3, count: 1, status: 503, retry_after: 2s}
  - {api: pathnotify, skip: 4, count: 1, body: "<html>"}
  - {api: pathnotify, skip: 5, count: 1, drop: true}
  - {api: pathnotify, skip: 6, count: 1, drop: true, after: true}
  - {api: pathnotify, skip: 7, count: 1, exist: false}
  - {api: pathnotify, skip: 8, count: 1, errcode: 40164}
`)})
	type got struct {
		status, code int
		fails        bool
		pushes       int
	}
	for i, want := range []got{{200, 0, false, 1}, {200, -1, false, 1}, {200, -1, false, 1}, {503, 0, false, 1}, {200, 0, true, 1},
		{0, 0, true, 1}, {0, 0, true, 2}, {200, 0, false, 2}, {200, 40164, false, 2}, {200, 0, false, 3}} {
		a, err := notify(t, front, goodPush())
		if is := (got{a.status, a.Errcode, err != nil, len(s.Pushes())}); is != want {
			t.Errorf("call %d: %+v, %v, want %+v", i, is, err, want)
		}
		if i == 3 && a.header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if a.Errcode == 40164 && !strings.Contains(a.Errmsg, "127.0.0.1") {
			t.Errorf("errmsg %q lacks the address", a.Errmsg)
		}
	}
	if n := s.Count(fake.PathNotify, fake.Unanswered); n != 2 {
		t.Errorf("%d unanswered, want 2", n)
	}
}

func TestScriptIsChecked(t *testing.T) {
	for _, text := range []string{
		"faults: [{api: pathnotfy, errcode: 1}]", "faults: [{api: pathnotify}]", "faults: [{api: pathnotify, share: 2, errcode: 1}]",
		"fault: []", "quotas: {all: {per_day: 1}}", "faults: [{api: pathnotify, errcod: 1}]",
		"lookup: {tries: -1}", "lookup: {retries: 1}",
	} {
		if _, err := fake.ParseScript([]byte(text)); err == nil {
			t.Errorf("%s: taken", text)
		}
	}
	if s := parse(t, `{"seed": 3, "quotas": {"userquery": {"per_second": 5}}, "faults": [{"api": "*", "delay": "20ms"}]}`); s.Faults[0].Delay != 20*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

// The script that is shipped for the demo.
func TestExampleScript(t *testing.T) {
	s, err := fake.LoadScript("../../configs/wechat-faults.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Faults) < 10 || s.Lookup == nil || s.Quotas[fake.PathNotify].PerSecond != 200 {
		t.Errorf("%+v", s)
	}
	if _, err := fake.New(fake.Options{Script: s}); err != nil {
		t.Error(err)
	}
}

func TestDownAndSlow(t *testing.T) {
	s, front, _ := newPair(t, fake.Options{BoundByDefault: true, Script: parse(t, "faults: [{api: stable_token, slow: 1ms}]")})
	s.SetDown(true)
	if _, err := call(t, front.URL+"/cgi-bin/stable_token", "application/json", "{}"); err == nil {
		t.Error("a fake that is down answered")
	}
	s.SetDown(false)
	if a := getToken(t, front, false); a.AccessToken == "" {
		t.Errorf("%+v", a)
	}
}
