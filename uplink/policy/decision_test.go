package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/wechat"
)

// TestErrcodes holds Decide against every row of the error table in wechat/README.md.
func TestErrcodes(t *testing.T) {
	const (
		token = iota
		transient
		mismatch
		throttled
		permanent
		blocked
	)
	rows := map[int][]int{
		token:     {40001, 40014, 42001, 42007, 41001},
		transient: {-1, 932001},
		mismatch:  {932002, 932003, 12345, 87009}, // the last two stand for "anything else"
		throttled: {45009, 45011},
		permanent: {40097, 44002, 47001, 43002, 43003},
		blocked: {
			40013, 40125, 41002, 41004, 40164, 45035, 61004, 89503, 89504, 89505, 89506, 89507,
			40230, 40231, 40232, 40233, 40234, 40235, 48001, 48004, 50002, 61024, 150004,
		},
	}
	want := map[int]policy.Decision{
		token:     {Next: policy.Again, Class: wechat.BadToken},
		transient: {Next: policy.Retry, Class: wechat.Transient},
		mismatch:  {Next: policy.Retry, Class: wechat.Mismatch},
		throttled: {Next: policy.Hold, Class: wechat.Throttled},
		permanent: {Next: policy.Settle, Outcome: event.Dead, Class: wechat.Permanent},
		blocked:   {Next: policy.Hold, Class: wechat.Blocked},
	}
	for group, codes := range rows {
		for _, n := range codes {
			w := want[group]
			if n == 12345 || n == 87009 {
				w.Class = wechat.Unknown
			}
			v := policy.Decide(policy.Call{API: wechat.APIPathNotify, Err: code(wechat.APIPathNotify, n), Now: time.Now()})
			if v.Next != w.Next || v.Outcome != w.Outcome || v.Class != w.Class {
				t.Errorf("errcode %d: next %d, outcome %v, class %v; want %d, %v, %v", n, v.Next, v.Outcome, v.Class, w.Next, w.Outcome, w.Class)
			}
			if v.Reply.ErrCode != n || v.Reply.RID != "rid-1" || !strings.Contains(v.Reply.Reason, "some words") {
				t.Errorf("errcode %d: kept %+v", n, v.Reply)
			}
			if policy.Mismatch(v.Reply) != (group == mismatch) || (v.Pause > 0) != (group == throttled) {
				t.Errorf("errcode %d: a mismatch %v, pause %v", n, policy.Mismatch(v.Reply), v.Pause)
			}
			if v.Unsure {
				t.Errorf("errcode %d: an answer came, so nothing is unsure", n)
			}
		}
	}
}

func TestSuccess(t *testing.T) {
	for _, c := range []struct {
		api     string
		exist   bool
		next    policy.Next
		outcome event.State
	}{
		{wechat.APIPathNotify, true, policy.Settle, event.Pushed},
		{wechat.APIPathNotify, false, policy.Settle, event.NotBound},
		{wechat.APIUserQuery, true, policy.GoOn, 0},
		{wechat.APIUserQuery, false, policy.Settle, event.NotBound},
	} {
		v := policy.Decide(policy.Call{API: c.api, Exist: c.exist})
		if v.Next != c.next || v.Outcome != c.outcome || v.Class != wechat.Success {
			t.Errorf("%s, exist %v: %+v", c.api, c.exist, v)
		}
	}
}

func TestFaultsOnTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		next   policy.Next
		unsure bool
	}{
		"http 503":         {&wechat.Error{API: "pathnotify", Status: 503, Sent: true}, policy.Retry, true},
		"no JSON":          {&wechat.Error{API: "pathnotify", Status: 200, Sent: true, Err: errors.New("answer is no JSON object")}, policy.Retry, true},
		"refused":          {errConnect, policy.Retry, false},
		"timeout":          {&wechat.Error{API: "pathnotify", Sent: true, Err: errors.New("no answer within 25s")}, policy.Retry, true},
		"http 429":         {&wechat.Error{API: "pathnotify", Status: 429, Sent: true}, policy.Hold, false},
		"not valid":        {&wechat.Error{API: "pathnotify", Err: wechat.ErrInvalid}, policy.Settle, false},
		"no token":         {&wechat.Error{API: "pathnotify", Err: wechat.ErrNoToken}, policy.Again, false},
		"any other error":  {errors.New("odd"), policy.Retry, false},
		"userquery is not": {&wechat.Error{API: "userquery", Status: 502, Sent: true}, policy.Retry, false},
	} {
		api := "pathnotify"
		if name == "userquery is not" {
			api = "userquery"
		}
		v := policy.Decide(policy.Call{API: api, Err: c.err, Now: time.Now()})
		if v.Next != c.next || v.Unsure != c.unsure {
			t.Errorf("%s: next %d, unsure %v; want %d, %v", name, v.Next, v.Unsure, c.next, c.unsure)
		}
		if v.Next != policy.Again && v.Reply.Reason == "" {
			t.Errorf("%s: no reason", name)
		}
	}
}

func TestDisagreedFiveTimes(t *testing.T) {
	for times := 1; times <= 5; times++ {
		v := policy.Decide(policy.Call{API: "pathnotify", Err: code("pathnotify", 932003), Mismatches: times - 1})
		if dead := v.Next == policy.Settle && v.Outcome == event.Dead; dead != (times == 5) {
			t.Errorf("after %d: %+v", times, v)
		}
		if v.Delay > time.Second<<(times-1) || v.Delay > 30*time.Second {
			t.Errorf("after %d the delay is %v", times, v.Delay)
		}
	}
}

func TestTransientDelays(t *testing.T) {
	for attempts, most := range map[int]time.Duration{0: time.Second, 3: 8 * time.Second, 20: 5 * time.Minute, 63: 5 * time.Minute, 1 << 30: 5 * time.Minute} {
		longest := time.Duration(0)
		for range 300 {
			d := policy.TransientDelay(attempts)
			if d < 0 || d >= most {
				t.Fatalf("attempt %d: delay %v, want below %v", attempts, d, most)
			}
			longest = max(longest, d)
		}
		if longest < most/2 {
			t.Errorf("attempt %d: of 300 delays the longest is %v of %v: that is no full jitter", attempts, longest, most)
		}
	}
}

func TestPauses(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for name, c := range map[string]struct {
		err    *wechat.Error
		now    time.Time
		until  time.Time
		spread time.Duration
	}{
		"daily quota, evening in Beijing": {&wechat.Error{Code: 45009}, at("2026-11-23T15:59:00Z"), at("2026-11-23T16:00:00Z"), 2 * time.Minute},
		"daily quota, morning in Beijing": {&wechat.Error{Code: 45009}, at("2026-11-23T16:00:00Z"), at("2026-11-24T16:00:00Z"), 2 * time.Minute},
		"daily quota, end of the year":    {&wechat.Error{Code: 45009}, at("2026-12-31T20:00:00+08:00"), at("2027-01-01T00:00:00+08:00"), 2 * time.Minute},
		"minute quota":                    {&wechat.Error{Code: 45011}, at("2026-11-23T08:00:13Z"), at("2026-11-23T08:01:00Z"), 2 * time.Second},
		"429 with Retry-After":            {&wechat.Error{Status: 429, RetryAfter: 20 * time.Second}, at("2026-11-23T08:00:00Z"), at("2026-11-23T08:00:20Z"), 2*time.Second + 1},
		"429 without":                     {&wechat.Error{Status: 429}, at("2026-11-23T08:00:00Z"), at("2026-11-23T08:00:01Z"), 1},
	} {
		got := c.now.Add(policy.Decide(policy.Call{Err: c.err, Now: c.now}).Pause)
		if got.Before(c.until) || !got.Before(c.until.Add(c.spread)) {
			t.Errorf("%s: until %v, want within %v of %v", name, got, c.spread, c.until)
		}
	}
}

func TestReasonsForOperators(t *testing.T) {
	e := &wechat.Error{API: "pathnotify", Code: 40164, Msg: "invalid ip 10.1.2.3, not in whitelist"}
	if r := reason(e); !strings.Contains(r, "10.1.2.3") || !strings.Contains(r, "allow list") {
		t.Errorf("the reason for 40164 is %q", r)
	}
	if r := reason(&wechat.Error{API: "userquery", Code: 99999}); !strings.Contains(r, "99999") {
		t.Errorf("the reason for an unknown code is %q", r)
	}
}

func reason(err error) string { return policy.Decide(policy.Call{Err: err}).Reply.Reason }

func code(api string, n int) error {
	return &wechat.Error{API: api, Status: 200, Code: n, Msg: "some words", RID: "rid-1"}
}

var errConnect = &wechat.Error{API: wechat.APIPathNotify, Err: errors.New("connection refused")}
