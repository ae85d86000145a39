package fake

import (
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) Script {
	t.Helper()
	s, err := ParseScript([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScriptByCount(t *testing.T) {
	s, front, _ := newPair(t, Options{BoundByDefault: true, Script: parse(t, `
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
	if n := s.Count(PathNotify, Unanswered); n != 2 {
		t.Errorf("%d unanswered, want 2", n)
	}
}

func TestSharesRepeat(t *testing.T) {
	run := func(seed uint64) (codes []int) {
		b := newFaultBook(Script{Seed: seed, Faults: []Fault{{API: PathNotify, Share: 0.3, Errcode: -1}, {API: "*", Share: 0.1, Errcode: 45011}}})
		for range 1000 {
			b.next(UserQuery) // others do not disturb
			codes = append(codes, b.next(PathNotify).before.Errcode)
		}
		return codes
	}
	a, b, c := run(1), run(1), run(2)
	hits, same := 0, 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatal("the same seed gave another course")
		}
		if a[i] == -1 {
			hits++
		}
		if a[i] == c[i] {
			same++
		}
	}
	if hits < 250 || hits > 350 || same == len(a) {
		t.Errorf("%d of 1000 hit, want about 300; %d same with another seed", hits, same)
	}
}

func TestDelaysAddUp(t *testing.T) {
	b := newFaultBook(Script{Faults: []Fault{
		{API: PathNotify, Delay: time.Second}, {API: PathNotify, Delay: time.Second, After: true}, {API: PathNotify, Delay: time.Second, Errcode: -1}}})
	if p := b.next(PathNotify); p.before.Delay != 2*time.Second || p.after.Delay != time.Second || p.before.Errcode != -1 {
		t.Errorf("%+v", p)
	}
}

func TestScriptIsChecked(t *testing.T) {
	for _, text := range []string{
		"faults: [{api: pathnotfy, errcode: 1}]", "faults: [{api: pathnotify}]", "faults: [{api: pathnotify, share: 2, errcode: 1}]",
		"fault: []", "quotas: {all: {per_day: 1}}", "faults: [{api: pathnotify, errcod: 1}]",
		"lookup: {tries: -1}", "lookup: {retries: 1}",
	} {
		if _, err := ParseScript([]byte(text)); err == nil {
			t.Errorf("%s: taken", text)
		}
	}
	if s := parse(t, `{"seed": 3, "quotas": {"userquery": {"per_second": 5}}, "faults": [{"api": "*", "delay": "20ms"}]}`); s.Faults[0].Delay != 20*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

// The script that is shipped for the demo.
func TestExampleScript(t *testing.T) {
	s, err := LoadScript("../../configs/wechat-faults.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Faults) < 10 || s.Lookup == nil || s.Quotas[PathNotify].PerSecond != 200 {
		t.Errorf("%+v", s)
	}
	if _, err := New(Options{Script: s}); err != nil {
		t.Error(err)
	}
}

func TestDownAndSlow(t *testing.T) {
	s, front, _ := newPair(t, Options{BoundByDefault: true, Script: parse(t, "faults: [{api: stable_token, slow: 1ms}]")})
	s.SetDown(true)
	if _, err := call(t, front.URL+"/cgi-bin/stable_token", "application/json", "{}"); err == nil {
		t.Error("a fake that is down answered")
	}
	s.SetDown(false)
	if a := getToken(t, front, false); a.AccessToken == "" {
		t.Errorf("%+v", a)
	}
}
