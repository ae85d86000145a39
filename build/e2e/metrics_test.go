package e2e

import (
	"bytes"
	"io"
	"net/http"
	"os/exec"
	"testing"

	"scanrelay/build/rig"
)

// TestMetrics: promtool finds nothing to say against what either role tells once it
// has worked, and the times from scan to push are there.
func TestMetrics(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(1, "metrics"), "SF", 20)
	site.Import(parcels)
	publish(t, site.Scanner("gate-1"), rig.Scans(parcels, 1, "gate-1"))
	st := site.Drain()
	resp, err := http.Get("http://" + site.AgentHTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	agent, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	code, central := site.Ask(http.MethodGet, "/metrics", rig.AdminToken, http.NoBody)
	if code != http.StatusOK {
		t.Fatalf("the centre's metrics: HTTP %d", code)
	}
	for role, text := range map[string][]byte{"agent": agent, "centre": central} {
		cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: promtool check metrics: %v\n%s", role, err, out)
		}
		for _, p := range parcels {
			if bytes.Contains(text, []byte(p.ID)) || bytes.Contains(text, []byte(p.Receiver.Phone)) {
				t.Errorf("%s tells of a waybill or a phone", role)
			}
		}
	}
	pushed := site.Metric(site.AgentHTTP, "scanrelay_scan_to_push_seconds_count")
	if synced := site.Metric(site.AgentHTTP, "scanrelay_scan_to_sync_seconds_count"); synced != 20 || pushed != float64(st.Outcome["pushed"]) || pushed == 0 {
		t.Errorf("of 20 scans %v are synced and %v pushed by the histograms, %+v by status", synced, pushed, st.Outcome)
	}
}
