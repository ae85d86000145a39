package page_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
)

func TestPage(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Sync(centraltest.TokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{centraltest.Event(3, centraltest.Parcel, time.Now().Unix())}, Backlog: 41})
	code, en := b.Admin("GET", "/?lang=en", "")
	if code != 200 {
		t.Fatalf("%d %s", code, en)
	}
	for _, want := range []string{"hz-01", "sh-01", "41", "Numbers that never came", ">1<", ">2<", centraltest.EpochA, "away", "here", `lang="en"`} {
		if !strings.Contains(en, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	_, zh := b.Call("GET", "/", "", "Authorization", "Bearer "+centraltest.AdminToken, "Accept-Language", "zh-CN,zh;q=0.9")
	if !strings.Contains(zh, "从未到达的序号") || !strings.Contains(zh, "离线") {
		t.Error("no Chinese page")
	}
	if m := regexp.MustCompile(`(?i)(src|href)="?(https?:)?//|@import|url\(`).FindString(en); m != "" {
		t.Errorf("the page has an outside resource: %s", m)
	}
	if strings.Contains(en, "ZgotmplZ") || strings.Contains(en, "no value") {
		t.Error("the template went wrong")
	}
}
