package page_test

import (
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/rollout"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
)

// TestPageOfARollout shows a release on its way, what failed, and where a person must
// decide, in both languages.
func TestPageOfARollout(t *testing.T) {
	table, err := identity.OpenJournal("", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rollout.Rollout{
		ID: "r", Plan: rollout.Plan{Version: "1.1.0", Rings: []float64{1}, Canaries: []scan.DepotID{"hz-01"}, Soak: 3600}, By: "ops-1",
		State: rollout.Halted, Why: "1 of 1 gateways that were told have failed", Since: time.Now(),
	}
	g := rollout.Group{Rollout: "r", Members: map[scan.DepotID]*rollout.Member{"hz-01": {From: "1.0.0", Result: rollout.Failed, Why: "bad: <b>no scans</b>"}}}
	done, err := documents.Put(t.Context(), table, nil, map[string]any{"rollout/now": map[string]any{"now": r}, "rollout/group/depot/hz-01": g})
	if !done || err != nil {
		t.Fatal(done, err)
	}
	b := centraltest.New(t, func(o *central.Options) { o.Documents = table })
	b.Sync(centraltest.TokenHZ, syncapi.Request{Update: &directive.UpdateState{Version: "1.0.0", State: "rolled_back", Target: "1.1.0", Verdict: "bad", Reason: "no scans"}})
	for path, want := range map[string][]string{
		"/?lang=en":             {"Release 1.1.0", "halted", "1 of 1 gateways", "Decide: look at the gateways that failed", "canaries", "ring 1 (100 %)", "bad: &lt;b&gt;no scans", "ops-1"},
		"/?lang=zh":             {"版本推送 1.1.0", "已停止", "已通知的 1 台网关中有 1 台失败", "需要决定", "先行网点", "批次 1"},
		"/depots/hz-01?lang=en": {"rolled_back → 1.1.0 · bad · no scans"},
	} {
		code, got := b.Admin("GET", path, "")
		if code != 200 || strings.Contains(got, "no value") || strings.Contains(got, "ZgotmplZ") {
			t.Errorf("%s: %d", path, code)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q", path, w)
			}
		}
	}
}
