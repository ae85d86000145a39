package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"scanrelay/build/rig"
)

// TestFullDiskDrains fills a small disk with scans while the centre is away, and
// what is left of it with a file that stays. The agent is killed. When the centre
// is back everything that was acknowledged goes out, though no byte comes free.
func TestFullDiskDrains(t *testing.T) {
	t.Parallel()
	store := "store: {max_size: 256MiB, retain: 1s}\n"
	disk, mounted := smallDisk(t, 8)
	if !mounted { // max_size is what runs out
		store = "store: {max_size: 7MiB, retain: 1s}\n"
	}
	site := rig.NewSite(t, rig.Options{
		Binary: plainBinary, Embedded: true, AgentData: filepath.Join(disk, "agent"), Agent: store, Notify: "concurrency: 64",
	})
	site.Start()
	parcels := rig.Traffic(rig.Chance(10, "full disk"), "YT", 10_000)
	site.Import(parcels)
	site.Central.Stop()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	published := make(chan error, 1)
	go func() { published <- site.Scanner("line-1").Publish(ctx, rig.Scans(parcels, 4, "line-1")) }()
	site.AwaitStatus("the scanner to have all the room that one may have", func(st rig.Status) bool {
		return st.Store.Full || st.MQTT.Throttled > 0
	})
	if mounted {
		// Ends with ENOSPC, which is what it is for.
		_ = os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 8<<20), 0o600)
	}
	stop()
	if err := <-published; !errors.Is(err, context.Canceled) {
		t.Fatalf("the disk is not full: %v", err)
	}
	site.Agent.Kill()
	site.Agent.Start()
	site.StartCentral()
	st := site.Drain()
	if st.Intake.Received != st.Finished() || st.Outcome["dead"]+st.Outcome["discarded"]+st.Outcome["expired"] > 0 {
		t.Errorf("%+v", st)
	}
	t.Logf("%d scans were acknowledged, %+v", site.Ledger.Len(), st.Outcome)
}
