package page_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/health"
)

func TestPage(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Sync(centraltest.TokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{centraltest.Event(3, centraltest.Parcel, time.Now().Unix())}, Backlog: 41})
	code, en := b.Admin("GET", "/?lang=en", "")
	if code != 200 {
		t.Fatalf("%d %s", code, en)
	}
	for _, want := range []string{"hz-01", "sh-01", "41", "Numbers that never came", ">1<", ">2<", centraltest.EpochA, "attention", "not heard of since", `lang="en"`} {
		if !strings.Contains(en, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	_, zh := b.Call("GET", "/", "", "Authorization", "Bearer "+centraltest.AdminToken, "Accept-Language", "zh-CN,zh;q=0.9")
	if !strings.Contains(zh, "从未到达的序号") || !strings.Contains(zh, "注意") {
		t.Error("no Chinese page")
	}
	if m := regexp.MustCompile(`(?i)(src|href)="?(https?:)?//|@import|url\(`).FindString(en); m != "" {
		t.Errorf("the page has an outside resource: %s", m)
	}
	if strings.Contains(en, "ZgotmplZ") || strings.Contains(en, "no value") {
		t.Error("the template went wrong")
	}
}

// TestPageOfADepot shows what a depot says of itself, what is wrong and what to do, in
// both languages, and finds it among others.
func TestPageOfADepot(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Sync(centraltest.TokenHZ, syncapi.Request{OSArch: "linux/arm", Health: &health.Report{
		Pending: health.Pending{Unsynced: 4711, OldestSeconds: 7300}, Outcome: health.Outcome{Dead: 17}, WeChat: "throttled",
		Store: health.Store{FileBytes: 3 << 20, MaxBytes: 64 << 20}, Alarms: []string{health.AlarmStoreFull, "<b>later</b>", "other_kind"},
	}})
	for path, want := range map[string][]string{
		"/depots/hz-01?lang=en": {"fault", "its store is full", "what to do", "4711", "3.0 / 64.0", "linux/arm", "throttled", "2 h", "other_kind", "unknown"},
		"/depots/hz-01?lang=zh": {"故障", "存储已满", "处理", "限流"},
		"/?lang=en&q=HZ":        {"hz-01", "4711", ">17<", "its store is full"},
		"/?lang=en&state=fault": {"hz-01"},
	} {
		code, got := b.Admin("GET", path, "")
		if code != 200 || strings.Contains(got, "no value") || strings.Contains(got, "<b>later") {
			t.Errorf("%s: %d %s", path, code, got)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q", path, w)
			}
		}
	}
	if _, got := b.Admin("GET", "/?lang=en&state=fault", ""); strings.Contains(got, "/depots/sh-01") {
		t.Error("the filter takes all")
	}
	if code, _ := b.Admin("GET", "/depots/nobody", ""); code != 404 {
		t.Errorf("a depot that nobody knows: %d", code)
	}
	if code, _ := b.Call("GET", "/depots/hz-01", ""); code != 401 {
		t.Errorf("without a token: %d", code)
	}
}
