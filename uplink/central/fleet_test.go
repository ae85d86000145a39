package central_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/health"
)

// TestHealthOfDepots: what a depot says of itself is what operators are shown, with
// what is wrong and what to do.
func TestHealthOfDepots(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Sync(centraltest.TokenHZ, syncapi.Request{OSArch: "linux/arm", Health: &health.Report{
		Pending: health.Pending{ToPush: 40, OldestSeconds: 1200}, Outcome: health.Outcome{Pushed: 9, Dead: 2}, Clock: "ok",
		Store: health.Store{FileBytes: 5 << 20, Full: true}, Alarms: []string{health.AlarmStoreFull},
	}})
	_, body := b.Admin("GET", "/v1/depots/hz-01", "")
	var v struct {
		OSArch  string         `json:"os_arch"`
		Lag     int64          `json:"lag_seconds"`
		Clock   string         `json:"clock"`
		Pending health.Pending `json:"pending"`
		Outcome health.Outcome `json:"outcome"`
		Store   health.Store   `json:"store"`
		Alarms  []struct{ Kind, What, Do string }
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	if v.OSArch != "linux/arm" || v.Lag != 1200 || v.Clock != "ok" || v.Pending.ToPush != 40 || v.Outcome.Dead != 2 || !v.Store.Full {
		t.Errorf("%s", body)
	}
	if len(v.Alarms) != 2 || v.Alarms[0].Kind != health.AlarmStoreFull || v.Alarms[1].Kind != "behind" || v.Alarms[0].Do == "" {
		t.Errorf("alarms: %+v", v.Alarms)
	}
	_, body = b.Admin("GET", "/v1/alarms", "")
	var all struct {
		Alarms []struct{ Depot, Kind string }
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Alarms) != 2 || all.Alarms[0].Depot != "hz-01" || all.Alarms[1].Kind != "behind" {
		t.Errorf("%s", body)
	}
	// A hostile depot spoils no sums.
	b.Sync(centraltest.TokenSH, syncapi.Request{Health: &health.Report{Pending: health.Pending{Unsynced: 1<<64 - 1, OldestSeconds: -1}}})
	if _, body = b.Admin("GET", "/v1/depots/sh-01", ""); !strings.Contains(body, `"unsynced":1099511627776`) || !strings.Contains(body, `"lag_seconds":0`) {
		t.Errorf("%s", body)
	}
	// A depot of a version that says nothing of itself is shown all the same.
	b.Sync(centraltest.TokenSH, syncapi.Request{})
	if _, body = b.Admin("GET", "/v1/depots/sh-01", ""); !json.Valid([]byte(body)) {
		t.Errorf("%s", body)
	}
}

// TestPageOfACarrier: with all depots of a carrier the page stays one of a hundred rows.
func TestPageOfACarrier(t *testing.T) {
	const depots = 31_000
	b := centraltest.New(t, func(o *central.Options) {
		o.Config.Depots = nil
		for i := range depots {
			o.Config.Depots = append(o.Config.Depots, central.Depot{ID: scan.DepotID(fmt.Sprintf("hz-%05d", i)), Token: secret.Text(fmt.Sprintf("token-of-depot-%05d", i))})
		}
	})
	b.Sync("token-of-depot-30999", syncapi.Request{Health: &health.Report{Alarms: []string{health.AlarmStoreFull}}})
	code, page := b.Admin("GET", "/?lang=en", "")
	if code != 200 || len(page) > 200<<10 {
		t.Errorf("%d, %d bytes", code, len(page))
	}
	for path, want := range map[string]string{
		"/?lang=en": "hz-30999", "/?q=hz-12345": "hz-12345", "/?page=310&sort=id&lang=en": "310 / 310", "/?state=fault": "hz-30999",
	} {
		if _, page := b.Admin("GET", path, ""); !strings.Contains(page, want) {
			t.Errorf("%s lacks %q", path, want)
		}
	}
	var list struct{ Depots []json.RawMessage }
	_, body := b.Admin("GET", "/v1/depots", "")
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Depots) != depots {
		t.Errorf("%d depots, %v", len(list.Depots), err)
	}
}

// lists counts how often all depots are read.
type lists struct{ numberings, registrations atomic.Int32 }

type countedSnapshot struct {
	snapshot.Store
	n *lists
}

func (c countedSnapshot) Depots(ctx context.Context) ([]snapshot.Depot, error) {
	c.n.numberings.Add(1)
	return c.Store.Depots(ctx)
}

type countedIdentities struct {
	identity.Store
	n *lists
}

func (c countedIdentities) View(ctx context.Context, fn func(identity.Tx) error) error {
	return c.Store.View(ctx, func(t identity.Tx) error { return fn(countedTx{t, c.n}) })
}

type countedTx struct {
	identity.Tx
	n *lists
}

func (c countedTx) Depots(each func(*identity.Registration) error) error {
	c.n.registrations.Add(1)
	return c.Tx.Depots(each)
}

// TestReadsOfAFleet: what is asked of one depot is read of that one, and all depots are
// read once for what is asked of all.
func TestReadsOfAFleet(t *testing.T) {
	var n lists
	g := newRegistry(t, t.TempDir(), func(o *central.Options) {
		o.Snapshot, o.Identities = countedSnapshot{o.Snapshot, &n}, countedIdentities{o.Identities, &n}
	})
	g.invite("/v1/depots", map[string]any{"id": "nb-07", "name": "宁波七部"})
	g.Sync(centraltest.TokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{centraltest.Event(3, centraltest.Parcel, g.Now().Unix())}})
	for _, c := range []struct {
		path, want string
		status     int
		most       int32
	}{
		{"/v1/depots/hz-01", `"kind":"gaps"`, 200, 0}, {"/v1/depots/nb-07", "宁波七部", 200, 0}, {"/v1/depots/sh-01", `"static"`, 200, 0},
		{"/v1/depots/xx-99", "no depot", 404, 0}, {"/depots/hz-01", "hz-01", 200, 0}, {"/depots/xx-99", "no such depot", 404, 0},
		{"/", "nb-07", 200, 1}, {"/v1/depots", "宁波七部", 200, 1}, {"/v1/alarms", `"kind":"gaps"`, 200, 1}, {"/", "nb-07", 200, 0},
	} {
		n.numberings.Store(0)
		n.registrations.Store(0)
		code, out := g.Admin("GET", c.path, "")
		if code != c.status || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d %s", c.path, code, out)
		}
		if n.numberings.Load() != c.most || n.registrations.Load() != c.most {
			t.Errorf("%s: numberings are listed %d times, registrations %d", c.path, n.numberings.Load(), n.registrations.Load())
		}
	}
}

// slowList is a store that takes a second to list depots; all that it does not have is
// not asked for.
type slowList struct {
	snapshot.Store
	n *atomic.Int32
}

func (s slowList) Depots(context.Context) ([]snapshot.Depot, error) {
	s.n.Add(1)
	time.Sleep(time.Second)
	return []snapshot.Depot{{ID: "nb-07"}}, nil
}

// Stats has nothing to be alarmed at.
func (slowList) Stats(context.Context) (snapshot.Stats, error) { return snapshot.Stats{}, nil }

// slowReader takes long to read an answer.
type slowReader struct {
	*httptest.ResponseRecorder
	takes  time.Duration
	inside *atomic.Int32
	over   *atomic.Bool // more than maxLists were inside at once
}

const maxLists = 4

func (w slowReader) Write(b []byte) (int, error) {
	if w.Code == 200 {
		if now := w.inside.Add(1); now > maxLists {
			w.over.Store(true)
		}
		time.Sleep(w.takes)
		w.inside.Add(-1)
	}
	return w.ResponseRecorder.Write(b)
}

// TestManyAskForAllDepots: those who ask for all depots at a moment share one list, which
// was begun when the last of them had asked; a few answers are written at once, others
// wait, and are told to come again where that takes too long.
func TestManyAskForAllDepots(t *testing.T) {
	for takes, want := range map[time.Duration]int{time.Second: 31, 50 * time.Second: 4} {
		synctest.Test(t, func(t *testing.T) {
			var n, inside, good, refused atomic.Int32
			var over atomic.Bool
			c, err := central.New(central.Options{Config: centraltest.Config(), Snapshot: slowList{n: &n}, WeChat: account.Always("t")})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			ask := func(path string) {
				w := slowReader{httptest.NewRecorder(), takes, &inside, &over}
				r := httptest.NewRequest("GET", path, nil)
				r.Header.Set("Authorization", "Bearer "+centraltest.AdminToken)
				c.Handler().ServeHTTP(w, r)
				switch {
				case w.Code == 503 && w.Header().Get("Retry-After") != "":
					refused.Add(1)
				case w.Code == 200 && json.Valid(w.Body.Bytes()):
					good.Add(1)
				default:
					t.Errorf("%s: %d %s", path, w.Code, w.Body)
				}
			}
			all.Go(func() { ask("/v1/depots") })
			synctest.Wait()
			for i := range 30 {
				all.Go(func() { ask([]string{"/v1/depots", "/v1/alarms"}[i%2]) })
			}
			all.Wait()
			if n.Load() != 2 || over.Load() || int(good.Load()) != want || int(refused.Load()) != 31-want {
				t.Errorf("read in %v: %d lists were made, too many written at once: %v; %d good answers, %d refused", takes, n.Load(), over.Load(), good.Load(), refused.Load())
			}
		})
	}
}

// ailing is a store with something wrong.
type ailing struct{ snapshot.Store }

func (ailing) Stats(context.Context) (snapshot.Stats, error) {
	return snapshot.Stats{Damage: []string{"a row is unreadable", "another is"}, Blocked: "synchronous_commit is off", Held: "the time has jumped"}, nil
}

// TestAlarmsOfTheStore: what is wrong with the store stands among the alarms.
func TestAlarmsOfTheStore(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) { o.Snapshot = ailing{o.Snapshot} })
	code, out := b.Admin("GET", "/v1/alarms", "")
	for _, want := range []string{"store_damaged", "a row is unreadable", "another is", "store_blocked", "synchronous_commit is off", "forgetting_held", "the time has jumped"} {
		if code != 200 || !strings.Contains(out, want) {
			t.Errorf("%d, no %q in %s", code, want, out)
		}
	}
}
