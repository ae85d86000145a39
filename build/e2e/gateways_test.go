package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"scanrelay/build/rig"
)

// TestGateways sends scans through agents as gateways run them, which are killed in
// between. GATEWAYS names a folder with the programs of the packages, armhf and arm64;
// without it they are built here.
func TestGateways(t *testing.T) {
	t.Parallel()
	for _, g := range []struct{ machine, goarch, emulator string }{
		{"armhf", "arm", "qemu-arm-static"},
		{"arm64", "arm64", "qemu-aarch64-static"},
	} {
		t.Run(g.machine, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(os.Getenv("GATEWAYS"), g.machine)
			if os.Getenv("GATEWAYS") == "" {
				var err error
				if program, err = rig.Build(t.TempDir(), g.goarch); err != nil {
					t.Fatal(err)
				}
			}
			site := newSite(t, rig.Options{Binary: plainBinary, Gateway: []string{g.emulator, program}, Embedded: true})
			site.Start()
			parcels := rig.Traffic(rig.Chance(1, g.machine), "SF", 60)
			for i, p := range parcels {
				p.WithScan = i%3 == 0
			}
			site.Import(parcels)
			wait := background(t, site.Scanner("gate-1"), rig.Scans(parcels, 5, "gate-1"))
			for kill := range 2 {
				site.AwaitStatus("some more are stored", func(st rig.Status) bool { return st.Intake.Received >= uint64(kill+1)*80 })
				site.KillAgent()
			}
			wait()
			site.Drain()
			site.Audit(rig.Allow{PerKill: concurrency})
			checkReadable(t, site, 300)
		})
	}
}
