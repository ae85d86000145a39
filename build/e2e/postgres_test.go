package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"scanrelay/build/rig"
	"scanrelay/store/snapshot/postgres/pgtest"
)

// newDatabase starts a PostgreSQL of the test's own, which can be killed.
func newDatabase(t *testing.T) *pgtest.Server {
	t.Helper()
	s, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestPostgresKilled runs the centre on PostgreSQL and kills by turns the centre and
// the database while scans flow: what was answered is there, and pushed once.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	const events, kills = 3_000, 4
	db := newDatabase(t)
	site, chance, wait := flowing(t, rig.Options{Binary: plainBinary, Embedded: true, Database: db.DSN("postgres")}, events)
	for i := range kills {
		acked := moment(i, kills, events, chance)
		awaitAcked(t, site, acked)
		if i%2 == 0 {
			site.Central.Kill()
			site.StartCentral()
			continue
		}
		pid := site.Central.PID()
		if err := db.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitAcked(t, site, acked+100) // scans are taken all the same
		if err := db.Start(); err != nil {
			t.Fatal(err)
		}
		awaitCentral(t, site, http.StatusOK)
		if site.Central.PID() != pid {
			t.Error("the centre was restarted")
		}
	}
	wait()
	site.Drain()
	site.Audit(rig.Allow{Unreachable: true, TryAgain: true})
}

// TestPostgresAway takes the database away for a while: the centre stays, says that
// it is not ready, and sends depots away with a time to come again.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Database: db.DSN("postgres")})
	site.Start()
	parcels := rig.Traffic(rig.Chance(11, "database away"), "YT", 100)
	site.Import(parcels)
	scans := rig.Scans(parcels, 3, "line-1")
	publish(t, site.Scanner("line-1"), scans[:100])
	site.Drain()
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	publish(t, site.Scanner("line-1"), scans[100:])
	site.AwaitStatus("the scans to wait", func(st rig.Status) bool {
		return st.Intake.Received == 300 && st.Pending.Unsynced == 200 && !st.Central.Connected
	})
	awaitCentral(t, site, http.StatusServiceUnavailable)
	status, after := syncOf(t, site)
	if status != http.StatusServiceUnavailable || after == "" {
		t.Errorf("a depot is answered %d, Retry-After %q", status, after)
	}
	if err := db.Start(); err != nil {
		t.Fatal(err)
	}
	site.Drain()
	site.Audit(rig.Allow{Unreachable: true, TryAgain: true})
	for _, private := range []string{"host=" + os.TempDir(), rig.DepotToken, rig.AdminToken} {
		if strings.Contains(site.Central.Log(), private) {
			t.Errorf("the centre's log shows %q", private)
		}
	}
}

// awaitCentral waits until the centre says how ready it is.
func awaitCentral(t *testing.T, site *rig.Site, want int) {
	t.Helper()
	rig.Await(t, fmt.Sprintf("readyz to be %d", want), func() (bool, string) {
		resp, err := http.Get("http://" + site.CentralHTTP + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		return resp.StatusCode == want, resp.Status
	})
}

// syncOf sends one event as the other depot and returns the status and when to come
// again.
func syncOf(t *testing.T, site *rig.Site) (status int, after string) {
	t.Helper()
	now := time.Now().Unix()
	body := fmt.Sprintf(`{"v":1,"epoch":"00000000000000a1","next_seq":2,"from":1,"events":[{"seq":1,"event_id":"e1","waybill_id":"YT1234567890123",
"action_time":%d,"action_type":200001,"action_msg":"到达"}]}`, now)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+site.CentralHTTP+"/v1/sync", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rig.OtherToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}
