package e2e

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// TestDuplicates has two devices publish the same scans at once, and one of
// them do so again after a restart of the agent: each is stored and pushed once.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	for name, embedded := range map[string]bool{"mosquitto": false, "embedded": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := newSite(t, rig.Options{Binary: raceBinary, Embedded: embedded})
			site.Start()
			parcels := rig.Traffic(rig.Chance(3, name), "YT", 50)
			site.Import(parcels)
			scans := rig.Scans(parcels, 3, "belt")
			one := background(t, site.Scanner("belt-a"), scans)
			publish(t, site.Scanner("belt-b"), scans)
			one()
			site.Drain()
			site.Agent.Stop()
			site.StartAgent()
			publish(t, site.Scanner("belt-a"), scans)
			st := site.AwaitStatus("300 duplicates", func(st rig.Status) bool {
				return st.Intake.Duplicate >= 300 && st.Waiting() == 0
			})
			// A device whose connection was lost sends more of them.
			if st.Intake.Received != 150 {
				t.Errorf("received %d, want 150", st.Intake.Received)
			}
			site.Audit(rig.Allow{})
		})
	}
}

// TestMosquittoPub publishes with somebody else's client, good scans and bad
// ones, on lines of one message and with QoS 0 to 2.
func TestMosquittoPub(t *testing.T) {
	t.Parallel()
	for name, embedded := range map[string]bool{"mosquitto": false, "embedded": true} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t, rig.Options{Binary: raceBinary, Embedded: embedded})
			site.Start()
			parcels := rig.Traffic(rig.Chance(4, name), "YT", 3)
			site.Import(parcels)
			for qos, s := range rig.Scans(parcels, 1, "pub") {
				mosquittoPub(t, site.Broker, string(rune('0'+qos)), s.Payload())
				mosquittoPub(t, site.Broker, "1", s.Payload())
			}
			mosquittoPub(t, site.Broker, "1", []byte("{this is no scan"))
			st := site.AwaitStatus("3 events to end", func(st rig.Status) bool {
				return st.Finished() == 3 && st.Intake.Rejected == 1 && st.Intake.Duplicate == 3
			})
			if st.Intake.Received != 3 {
				t.Errorf("received %d, want 3", st.Intake.Received)
			}
			lines := site.Events("--state", "rejected")
			if len(lines) != 1 || string(lines[0].Payload) != "{this is no scan" || lines[0].LastError == "" {
				t.Errorf("quarantine holds %+v", lines)
			}
		})
	}
}

func mosquittoPub(t *testing.T, addr, qos string, payload []byte) {
	t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.CommandContext(t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-V", "mqttv311",
		"-q", qos, "-t", "scans/pub", "-s")
	cmd.Stdin = bytes.NewReader(payload)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}
