package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// TestBundle: the bundle of a running agent has what it tells of itself, and neither a
// credential nor anything of a scan.
func TestBundle(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(1, "bundle"), "SF", 30)
	site.Import(parcels)
	scanner := site.Scanner("gate-1")
	publish(t, scanner, rig.Scans(parcels, 1, "gate-1"))
	site.Drain()
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	if out, stderr, code := site.Run("bundle", "-c", site.AgentFile, "--to", file); code != 0 || strings.Contains(out, "missing") && !strings.Contains(out, "store.json") {
		t.Fatalf("exit code %d: %s%s", code, out, stderr)
	}
	text, err := exec.CommandContext(t.Context(), "tar", "-xzOf", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"scanrelay_events_received_total 30", "goroutine ", `"msg":"agent runs"`, `"check":"wechat","result":"ok"`, `"received": 30`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it has no %s", want)
		}
	}
	hidden := []string{rig.DepotToken, rig.AdminToken}
	for _, p := range parcels {
		hidden = append(hidden, p.ID, p.Receiver.Phone, p.Receiver.Name, p.Receiver.Address, p.Sender.Phone, p.Sender.Name)
	}
	for _, h := range hidden {
		if h != "" && strings.Contains(string(text), h) {
			t.Errorf("it has %s", h)
		}
	}
}
