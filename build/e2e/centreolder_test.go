package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// TestCentreOlder has the centre start with files that commit 7b28d06 wrote, which
// it cannot write to: WeChat and operators are answered from them, depots are told to
// come again, and once there is room all goes on, with nothing of them lost.
func TestCentreOlder(t *testing.T) {
	t.Parallel()
	for what, how := range map[string]struct {
		run  []string // the centre by
		lift func(t *testing.T, s *rig.Site)
	}{
		"read only": {readOnlyMount, makeWritable},
		"full": {
			[]string{"sh", "-ec", `exec prlimit --fsize=4096:unlimited "$@"`},
			func(t *testing.T, s *rig.Site) {
				command(t, "prlimit", "--pid", fmt.Sprint(s.Central.PID()), "--fsize=unlimited:unlimited")
			},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
			command(t, "tar", "-xzf", "../../store/snapshot/bolt/testdata/7b28d06.tar.gz", "-C", site.CentralData)
			plain := site.Central
			site.Central = rig.NewRole(t, "central-"+strings.Fields(what)[0], append(how.run, site.CentralData, raceBinary, "central", "-c", site.CentralFile),
				"GORACE=halt_on_error=1 atexit_sleep_ms=0")
			parcels := rig.Traffic(rig.Chance(15, "older"), "SF", 20)
			s := &diskSite{Site: site, t: t, parcels: parcels, scans: rig.Scans(parcels, 8, "line-1")}
			s.Start()
			older := func() {
				t.Helper()
				var view struct {
					Nodes []json.RawMessage `json:"nodes"`
				}
				code, body := s.Ask(http.MethodGet, "/v1/waybills/YT0000000000000", rig.AdminToken, nil)
				if err := json.Unmarshal(body, &view); code != http.StatusOK || err != nil || len(view.Nodes) != 8 {
					t.Fatalf("a waybill of before: HTTP %d, %s", code, body)
				}
			}
			older()
			s.parcels = nil // nothing of them is known yet
			s.mustRefuse(0)
			s.parcels = parcels
			s.scan()
			older()
			how.lift(t, site)
			s.Import(parcels)
			older()
			s.Drain()
			s.Central.Stop()
			s.Central = plain
			s.StartCentral()
			older()
			s.finish()
			s.unhurt()
		})
	}
}
