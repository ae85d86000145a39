package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"scanrelay/build/rig"
	"scanrelay/wechat/fake"
)

// TestPlain sends scans through everything, with each broker, in each mode and
// format of the message push, with waybill data from either side.
func TestPlain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		embedded bool
		mode     fake.Mode
		format   fake.Format
	}{
		{"mosquitto secure json", false, fake.Secure, fake.JSON},
		{"mosquitto compat xml", false, fake.Compat, fake.XML},
		{"embedded secure xml", true, fake.Secure, fake.XML},
		{"embedded plain json", true, fake.Plain, fake.JSON},
		{"embedded plain xml", true, fake.Plain, fake.XML},
		{"embedded compat json", true, fake.Compat, fake.JSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			site := newSite(t, rig.Options{
				Binary: raceBinary, Embedded: c.embedded,
				WeChat: fake.Options{Mode: c.mode, Format: c.format},
			})
			site.Start()
			parcels := rig.Traffic(rig.Chance(1, c.name), "YT", 60)
			for i, p := range parcels {
				p.WithScan = i%3 == 0
			}
			site.Import(parcels)
			publish(t, site.Scanner("gate-1"), rig.Scans(parcels, 5, "gate-1"))
			site.Drain()
			site.Audit(rig.Allow{})
			checkTrace(t, site, parcels[0], 5)
			checkReadable(t, site, 300)
		})
	}
}

// checkTrace asks for one waybill's nodes.
func checkTrace(t *testing.T, site *rig.Site, p *rig.Parcel, nodes int) {
	t.Helper()
	out, stderr, code := site.Run("trace", p.ID, "--json", "-c", site.AgentFile)
	var got struct {
		WaybillID string `json:"waybill_id"`
		Nodes     []struct {
			rig.Line
			ActionMsg string `json:"action_msg"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("scanrelay trace: exit code %d, %v: %s", code, err, stderr)
	}
	if got.WaybillID != p.ID || len(got.Nodes) != nodes {
		t.Errorf("trace of %s has %d nodes of %s, want %d", p.ID, len(got.Nodes), got.WaybillID, nodes)
	}
	if strings.Contains(out, "13900001111") {
		t.Error("trace shows the courier's phone without --reveal")
	}
	if _, _, code := site.Run("trace", "NOSUCH000001", "-c", site.AgentFile); code != 1 {
		t.Errorf("trace of an unknown waybill: exit code %d, want 1", code)
	}
}

// checkReadable stops both, and the commands still tell what is in the store.
func checkReadable(t *testing.T, site *rig.Site, events int) {
	t.Helper()
	for _, r := range []*rig.Role{site.Agent, site.Central} {
		r.Stop()
	}
	if lines := site.Events(); len(lines) != events {
		t.Errorf("events without a running agent: %d lines, want %d", len(lines), events)
	}
	if _, stderr, code := site.Run("deadletter", "retry", "--all", "-c", site.AgentFile); code != 1 || !strings.Contains(stderr, "not running") {
		t.Errorf("deadletter retry without an agent: exit code %d, %q", code, stderr)
	}
}

// TestDataComesLater scans parcels that the centre knows nothing of yet: they
// wait, others go on, and they go on once their data has come.
func TestDataComesLater(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	site.Start()
	chance := rig.Chance(2, "later")
	known, unknown := rig.Traffic(chance, "YT", 20), rig.Traffic(chance, "JT", 20)
	site.Import(known)
	publish(t, site.Scanner("gate-1"), rig.Scans(append(known, unknown...), 3, "gate-1"))
	site.AwaitStatus("known parcels to end and unknown ones to wait", func(st rig.Status) bool {
		return st.Finished() == 60 && st.Pending.AwaitingWaybill == 60
	})
	site.Import(unknown)
	site.Drain()
	site.Audit(rig.Allow{})
}
