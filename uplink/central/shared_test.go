package central_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot/postgres"
	"scanrelay/store/snapshot/postgres/pgtest"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/fleet"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/health"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// process is one of several on a database.
type process struct {
	*centraltest.Bench
	store *postgres.Store
	dead  atomic.Bool // nothing that it says reaches the database any more
}

// processes are n of one centre, on a database of their own.
func processes(t *testing.T, n int, change func(i int, o *central.Options)) []*process {
	t.Helper()
	server, name := pgtest.Database(t)
	var list []*process
	for i := range n {
		p := &process{}
		var err error
		p.store, err = postgres.Open(t.Context(), postgres.Options{DSN: server.DSN(name), MaxConns: 6, Key: secret.Text(strings.Repeat("ab", 32)), Migrate: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.store.Close() }) // it never fails
		ids, err := identity.OpenShared(t.Context(), p.store)
		if err != nil {
			t.Fatal(err)
		}
		p.Bench = centraltest.New(t, func(o *central.Options) {
			o.Snapshot, o.Documents, o.Identities, o.Shared = p.store, p.store, ids, mortal{p.store, &p.dead}
			if change != nil {
				change(i, o)
			}
		})
		list = append(list, p)
	}
	return list
}

// mortal is the tables of a process that may be killed.
type mortal struct {
	*postgres.Store
	dead *atomic.Bool
}

var errDead = errors.New("killed")

func (m mortal) PutPresence(ctx context.Context, depots []string, said [][]byte, ago []time.Duration) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.PutPresence(ctx, depots, said, ago)
}

func (m mortal) WaitingArrived(ctx context.Context, ids []string) ([]string, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.Store.WaitingArrived(ctx, ids)
}

func (m mortal) Lease(ctx context.Context, name string, life time.Duration) (bool, error) {
	if m.dead.Load() {
		return false, errDead
	}
	return m.Store.Lease(ctx, name, life)
}

// depotOf is what a process tells of a depot in GET /v1/depots.
func depotOf(t *testing.T, p *process, id string) (d struct {
	ID, Version string
	LastContact *time.Time `json:"last_contact"`
	Away        bool
	Alarms      []struct{ Kind string }
}) {
	t.Helper()
	_, body := p.Admin("GET", "/v1/depots", "")
	var all struct{ Depots []json.RawMessage }
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, raw := range all.Depots {
		if strings.Contains(string(raw), `"id":"`+id+`"`) {
			if err := json.Unmarshal(raw, &d); err != nil {
				t.Fatalf("%v: %s", err, raw)
			}
		}
	}
	return d
}

// TestPresenceOfProcesses: each process sees every depot, whichever it calls, with what it
// said; a depot that goes on to another process as its own is killed is not taken for
// silent, and who starts knows what was heard before.
func TestPresenceOfProcesses(t *testing.T) {
	list := processes(t, 2, nil)
	one, two := list[0], list[1]
	syncs := func(p *process, token string, alarms ...string) {
		p.Sync(token, syncapi.Request{NextSeq: 1, Health: &health.Report{Alarms: alarms}})
	}
	syncs(one, centraltest.TokenHZ, health.AlarmMQTTDown)
	syncs(two, centraltest.TokenSH)
	for _, p := range list {
		centraltest.Eventually(t, "both depots are seen", func() bool {
			hz, sh := depotOf(t, p, "hz-01"), depotOf(t, p, "sh-01")
			return hz.Version == "test" && sh.Version == "test" && len(hz.Alarms) == 1 && len(sh.Alarms) == 0
		})
		if _, body := p.Admin("GET", "/v1/alarms", ""); !strings.Contains(body, health.AlarmMQTTDown) {
			t.Errorf("alarms: %s", body)
		}
		if code, page := p.Admin("GET", "/depots/hz-01", ""); code != 200 || !strings.Contains(page, "MQTT") {
			t.Errorf("the page of a depot: %d", code)
		}
	}
	one.dead.Store(true)
	syncs(one, centraltest.TokenHZ) // nobody learns of this one
	syncs(two, centraltest.TokenHZ)
	for _, p := range list {
		centraltest.Eventually(t, "what it said to the other", func() bool {
			d := depotOf(t, p, "hz-01")
			return len(d.Alarms) == 0 && d.LastContact != nil && time.Since(*d.LastContact) < time.Minute
		})
	}
	heard := presence.New(nil, two.store, time.Now)
	if err := heard.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := heard.Members(t.Context()); err != nil || len(all) != 2 || all["hz-01"].Version != "test" || all["sh-01"].Health == nil {
		t.Errorf("who starts knows %+v, %v", all, err)
	}
}

// TestTokenOfProcesses: of two processes one asks WeChat for the token; one that depots of
// both complain of is fetched once again; and where the one that fetches is killed the other
// does. No row shows the token.
func TestTokenOfProcesses(t *testing.T) {
	script := account.Numbered(2 * time.Hour)
	list := processes(t, 2, func(_ int, o *central.Options) { o.WeChat = script })
	token := func(p *process, depot, bad string) *syncapi.Token {
		return p.Sync(depot, syncapi.Request{NextSeq: 1, BadToken: bad}).Token
	}
	both := func(value string) (generation string) {
		t.Helper()
		for _, p := range list {
			centraltest.Eventually(t, value, func() bool {
				got := token(p, centraltest.TokenHZ, "")
				if got != nil {
					generation = got.Generation
				}
				return got != nil && got.Value == value
			})
		}
		return generation
	}
	bad := both("token-1")
	var all sync.WaitGroup
	for _, p := range list {
		for _, depot := range []string{centraltest.TokenHZ, centraltest.TokenSH} {
			all.Go(func() {
				if _, err := p.TrySync(depot, syncapi.Request{NextSeq: 1, BadToken: bad}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	bad = both("token-2")
	if script.Count() != 2 {
		t.Fatalf("%d requests", script.Count())
	}
	// Its lease is that of a process which was killed a while ago.
	if ours, err := list[0].store.Lease(t.Context(), "token", time.Second); err != nil || !ours {
		t.Fatalf("lease: %v, %v", ours, err)
	}
	list[0].dead.Store(true)
	if ours, err := list[1].store.Lease(t.Context(), "token", time.Second); err != nil || ours {
		t.Fatalf("the lease of another: %v, %v", ours, err)
	}
	token(list[1], centraltest.TokenHZ, bad)
	centraltest.Eventually(t, "the other fetches it", func() bool {
		got := token(list[1], centraltest.TokenHZ, "")
		return got != nil && got.Value == "token-3"
	})
	doc, _, err := list[1].store.Document(t.Context(), "token")
	if err != nil || len(doc) == 0 || strings.Contains(string(doc), "token-3") || strings.Contains(string(doc), base64.StdEncoding.EncodeToString([]byte("token-3"))) || strings.Contains(string(doc), "app-secret") {
		t.Errorf("the row: %q, %v", doc, err)
	}
}

// TestWaitingOfProcesses: a depot that declared at one process is told by any of them, wherever
// the data came, though that one is killed; none of them makes it declare again. What came
// while the table was away is told once it is back.
func TestWaitingOfProcesses(t *testing.T) {
	list := processes(t, 2, nil)
	one, two := list[0], list[1]
	first := one.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1, Waiting: []scan.WaybillID{"YT0000001", "YT0000002", "YT0000003"}})
	if again := two.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1}); again.Process != first.Process || again.StoreID != first.StoreID || first.Process == "" {
		t.Errorf("%q at one process, %q at the other", first.Process, again.Process)
	}
	told := func(p *process, want scan.WaybillID) {
		t.Helper()
		var got []scan.WaybillID
		centraltest.Eventually(t, "told "+string(want), func() bool {
			got = p.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1}).Ready
			return len(got) > 0
		})
		if len(got) != 1 || got[0] != want {
			t.Errorf("told %v, want %s", got, want)
		}
		p.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1, Ask: []syncapi.Ask{{Epoch: centraltest.EpochA, Seq: 1, EventID: "e", WaybillID: want}}})
		if got := p.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1}).Ready; len(got) > 0 {
			t.Errorf("told again what it has heard of: %v", got)
		}
	}
	two.Import("YT0000001")
	told(two, "YT0000001")
	two.Import("YT0000002")
	two.dead.Store(true)
	told(one, "YT0000002")
	one.dead.Store(true) // the database is away for a moment
	if code, out := one.Admin("POST", "/v1/waybills", centraltest.Line("YT0000003", time.Now().Unix())); code != 200 {
		t.Fatalf("%d: %s", code, out)
	}
	one.dead.Store(false)
	told(one, "YT0000003")
}

// TestRefusedIsHeardOf: a depot that speaks another version, or sends what is no sync, is
// there all the same, with its version and, where that lasts, an alarm; what is taken ends it.
func TestRefusedIsHeardOf(t *testing.T) {
	clock := &atomic.Int64{}
	b := centraltest.New(t, func(o *central.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(clock.Load())) }
	})
	hz := func() (m fleetDepot) {
		_, body := b.Admin("GET", "/v1/depots/hz-01", "")
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return m
	}
	for _, row := range []struct {
		body    string
		status  int
		version string
	}{{`{"v":99,"agent":"9.9.9","epoch":7}`, 409, "9.9.9"}, {`no JSON`, 400, "9.9.9"}} {
		for range 2 {
			if code, out := b.Call("POST", syncapi.Path, row.body, "Authorization", "Bearer "+centraltest.TokenHZ); code != row.status {
				t.Fatalf("%d: %s", code, out)
			}
			if d := hz(); d.Away || d.Version != row.version {
				t.Errorf("after a %d: %+v", row.status, d)
			}
			clock.Add(int64(20 * time.Second))
		}
		if d := hz(); row.status == http.StatusBadRequest && !d.raises(fleet.Refused) {
			t.Errorf("refused for a minute: %+v", d)
		}
	}
	b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1})
	if d := hz(); d.raises(fleet.Refused) || d.Version != "test" {
		t.Errorf("taken again: %+v", d)
	}
}

type fleetDepot struct {
	Version string
	Away    bool
	Alarms  []struct{ Kind string }
}

func (d *fleetDepot) raises(kind string) bool {
	for _, a := range d.Alarms {
		if a.Kind == kind {
			return true
		}
	}
	return false
}

// BenchmarkPresenceOfAFleet is what a carrier's depots cost a process each 10 s: their words
// are written, and those of the other process read.
func BenchmarkPresenceOfAFleet(b *testing.B) {
	server, name := pgtest.Database(b)
	var list []*presence.Presence
	now := time.Now()
	for range 2 {
		s, err := postgres.Open(b.Context(), postgres.Options{DSN: server.DSN(name), Key: secret.Text(strings.Repeat("ab", 32)), Migrate: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() }) // it never fails
		list = append(list, presence.New(nil, s, func() time.Time { return now }))
	}
	const depots = 31_000
	ids := make([]scan.DepotID, depots)
	for i := range ids {
		ids[i] = scan.DepotID(fmt.Sprintf("hz-%05d", i))
	}
	for n := uint64(0); b.Loop(); n++ {
		now = now.Add(10 * time.Second)
		for i, id := range ids {
			req := &syncapi.Request{Agent: "0.1.0", OSArch: "linux/arm", Epoch: centraltest.EpochA, Health: &health.Report{Clock: "ok", WeChat: "ok", Outcome: health.Outcome{Pushed: n}}}
			if err := list[i%2].Heard(b.Context(), id, req); err != nil {
				b.Fatal(err)
			}
		}
		for _, p := range list {
			if err := p.Write(b.Context()); err != nil {
				b.Fatal(err)
			}
			if err := p.Load(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*len(list)), "ms/process")
}
