package e2e

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// circle has a branch page of a bbolt file lead to itself, and returns how many it
// found.
func circle(t *testing.T, path string) (found int) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	order := binary.NativeEndian
	for id := 2; id < len(file)/diskPage; id++ {
		page := file[id*diskPage:][:diskPage]
		const branch, header, element = 1, 16, 16
		if n := int(order.Uint16(page[10:])); order.Uint64(page) == uint64(id) && order.Uint16(page[8:]) == branch && n > 0 && header+n*element < diskPage {
			order.PutUint64(page[header+(n-1)*element+8:], uint64(id))
			found++
		}
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestOutboxDamaged spoils the agent's segments while it is down: pages that lead
// to themselves, and pages of zeroes. It comes up each time, dies of nothing, says
// so, and takes and pushes what comes.
func TestOutboxDamaged(t *testing.T) {
	t.Parallel()
	seed := rig.Seed(t)
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	chance := rig.Chance(seed, "pages")
	parcels := rig.Traffic(rig.Chance(seed, "parcels"), "YT", 200)
	scans := rig.Scans(parcels, 4, "line-1")
	site.Import(parcels)
	scanner := site.Scanner("line-1")
	scanner.Rate = 400
	for i := range 4 {
		publish(t, scanner, scans[i*len(parcels):][:len(parcels)])
		site.Drain()
		if i == 3 {
			break
		}
		if i == 1 {
			site.Agent.Kill()
		} else {
			site.Agent.Stop()
		}
		segments, err := filepath.Glob(filepath.Join(site.AgentData, "segment-*.db"))
		if err != nil || len(segments) == 0 {
			t.Fatal(segments, err)
		}
		newest := segments[len(segments)-1]
		if i == 2 {
			zero(t, chance, newest, 3)
		} else if circle(t, newest) == 0 {
			t.Fatal("no page leads to another")
		}
		site.StartAgent()
		if !strings.Contains(site.Agent.Log(), "segment was rebuilt") {
			t.Error("the agent does not say that a segment was rebuilt")
		}
	}
	for _, death := range []string{"panic", "fatal error", "SIGBUS"} {
		if strings.Contains(site.Agent.Log(), death) {
			t.Errorf("the agent's log has a %s", death)
		}
	}
}
