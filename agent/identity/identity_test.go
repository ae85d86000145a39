package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/identity"
	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/central/caller"
	centre "scanrelay/uplink/central/identity"
	"scanrelay/uplink/syncapi"
)

// world is a centre that enrols, without a network: a call can be cut off before the
// centre has it, or after.
type world struct {
	t       *testing.T
	dir     string
	service *centre.Service
	mux     *http.ServeMux

	mu     sync.Mutex
	calls  int
	enrols int  // of them to be enrolled
	cut    int  // the number of the call that is cut off; 0: none
	before bool // before the centre has it

	hold chan struct{} // calls wait until it is closed; nil: they don't
}

var errCut = errors.New("the line broke")

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if strings.HasSuffix(r.URL.Path, "/enrol") {
		w.enrols++
	}
	if hold := w.hold; hold != nil {
		w.mu.Unlock()
		<-hold
		w.mu.Lock()
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if w.calls == w.cut && w.before {
		return nil, errCut
	}
	in := httptest.NewRequest(r.Method, r.URL.String(), bytes.NewReader(body))
	in.Header, in.RemoteAddr = r.Header, "127.0.0.1:1"
	out := httptest.NewRecorder()
	w.mux.ServeHTTP(out, in)
	if w.calls == w.cut {
		return nil, errCut
	}
	return out.Result(), nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	journal, err := centre.OpenJournal("", log)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), mux: http.NewServeMux()}
	keys := caller.NewKeyring(caller.Options{
		Credentials: caller.Credentials{Depots: []caller.Depot{{ID: "hz-01", Token: staticToken}}},
		Now:         time.Now, Logger: log, Metrics: metrics.NewSet(),
	})
	w.service, err = centre.New(t.Context(), centre.Options{Store: journal, Keys: keys, Now: time.Now, Logger: log, Metrics: metrics.NewSet()},
		func() centre.Config { return centre.Config{EnrolValid: time.Hour, Session: time.Hour} })
	if err != nil {
		t.Fatal(err)
	}
	keys.Know(w.service, nil)
	w.service.Gateways(w.mux)
	return w
}

const staticToken = "a static token of hz-01"

func (w *world) invite() secret.Text {
	w.t.Helper()
	i, err := w.service.Add(w.t.Context(), centre.Actor{}, centre.Depot{ID: "nb-07"})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret.Text(i.Token)
}

// start is an agent that starts, on what the one before has left.
func (w *world) start(id scan.DepotID, change func(*identity.Options)) *identity.Credential {
	w.t.Helper()
	keys, err := identity.Open(w.dir, id)
	if err != nil {
		w.t.Fatal(err)
	}
	boot, err := keys.NewBoot()
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := syncapi.NewClient(syncapi.Options{URL: "http://127.0.0.1:8080", Transport: w})
	if err != nil {
		w.t.Fatal(err)
	}
	o := identity.Options{Keys: keys, Centre: client, Boot: boot, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	return identity.New(o)
}

// good reports whether a token is a live session of the depot.
func (w *world) good(token secret.Text, depot string) bool {
	id, ok, err := w.service.Depot(w.t.Context(), token)
	return err == nil && ok && string(id) == depot
}

// TestPowerCutsBurnNoToken cuts each call of an enrolment and of a renewal, before
// the centre has it and after, and starts the agent anew.
func TestPowerCutsBurnNoToken(t *testing.T) {
	for cut := 1; cut <= 3; cut++ {
		for _, before := range []bool{true, false} {
			w := newWorld(t)
			token := w.invite()
			with := func(o *identity.Options) { o.EnrolToken = token }
			w.cut, w.before = cut, before
			if _, err := w.start("nb-07", with).Token(t.Context()); !errors.Is(err, errCut) {
				t.Fatalf("call %d: %v", cut, err)
			}
			got, err := w.start("nb-07", with).Token(t.Context())
			if err != nil || !w.good(got, "nb-07") {
				t.Errorf("enrolment cut at call %d (before: %v), then: %v", cut, before, err)
			}
			// The token is done: an agent without it goes on.
			if got, err = w.start("nb-07", nil).Token(t.Context()); err != nil || !w.good(got, "nb-07") {
				t.Errorf("without the token: %v", err)
			}
		}
	}
	for cut := 1; cut <= 5; cut++ {
		for _, before := range []bool{true, false} {
			w := newWorld(t)
			if err := w.start("nb-07", nil).Enrol(t.Context(), w.invite()); err != nil {
				t.Fatal(err)
			}
			w.calls, w.cut, w.before = 0, cut, before
			if err := w.start("nb-07", nil).Renew(t.Context()); !errors.Is(err, errCut) {
				t.Fatalf("call %d: %v", cut, err)
			}
			got, err := w.start("nb-07", nil).Token(t.Context())
			if err != nil || !w.good(got, "nb-07") {
				t.Errorf("renewal cut at call %d (before: %v), then: %v", cut, before, err)
			}
			if err := w.start("nb-07", nil).Renew(t.Context()); err != nil {
				t.Errorf("renewal cut at call %d (before: %v), then again: %v", cut, before, err)
			}
		}
	}
}

// TestAUsedTokenIsHarmless: it stays in the configuration, whatever becomes of the key.
func TestAUsedTokenIsHarmless(t *testing.T) {
	w := newWorld(t)
	token := w.invite()
	with := func(o *identity.Options) { o.EnrolToken = token }
	agent := func(when string, enrols int) {
		t.Helper()
		before, c := w.enrols, w.start("nb-07", with)
		for range 3 {
			got, err := c.Token(t.Context())
			if err != nil || !w.good(got, "nb-07") {
				t.Errorf("%s: %v", when, err)
			}
			c.Refused(got)
		}
		if w.enrols-before != enrols {
			t.Errorf("%s: the token was sent %d times, want %d", when, w.enrols-before, enrols)
		}
	}
	command := func(when string, do func(*identity.Credential) error) {
		t.Helper()
		if err := do(w.start("nb-07", nil)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	renew := func(c *identity.Credential) error { return c.Renew(t.Context()) }
	agent("the first start", 1)
	agent("the next start", 0)
	for range 3 {
		command("renew", renew)
	}
	agent("after renewals", 0)
	again, err := w.service.Reset(t.Context(), centre.Actor{}, "nb-07")
	if err != nil {
		t.Fatal(err)
	}
	command("another token", func(c *identity.Credential) error { return c.Enrol(t.Context(), secret.Text(again.Token)) })
	agent("after another token", 0)
	command("renew once more", renew)

	// A key of before tokens were carried over: the token is tried once.
	path := filepath.Join(w.dir, identity.Folder, "key")
	saved, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var key map[string]any
	if err := json.Unmarshal(saved, &key); err != nil {
		t.Fatal(err)
	}
	delete(key, "used")
	if saved, err = json.Marshal(key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	agent("a key that knows no token", 1)
}

// TestTheKeyThatCountsIsKept: a key that was proven, but not taken up, is the only one
// that the centre takes; no token that is tried then may cost it.
func TestTheKeyThatCountsIsKept(t *testing.T) {
	w := newWorld(t)
	if err := w.start("nb-07", nil).Enrol(t.Context(), w.invite()); err != nil {
		t.Fatal(err)
	}
	w.calls, w.cut = 0, 5
	if err := w.start("nb-07", nil).Renew(t.Context()); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if err := w.start("nb-07", nil).Enrol(t.Context(), "a token that nobody made"); err == nil {
		t.Fatal("it is taken")
	}
	with := func(o *identity.Options) { o.EnrolToken = "another one" }
	if got, err := w.start("nb-07", with).Token(t.Context()); err != nil || !w.good(got, "nb-07") {
		t.Errorf("the depot is shut out: %v", err)
	}
}

// TestOneChangesTheKeys: an agent that runs and a command wait for each other; a session
// that is good serves meanwhile.
func TestOneChangesTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, boot := newWorld(t), ""
		agent := w.start("nb-07", func(o *identity.Options) { boot = o.Boot })
		same := func(o *identity.Options) { o.Boot = boot } // a command speaks for the agent
		if err := agent.Enrol(t.Context(), w.invite()); err != nil {
			t.Fatal(err)
		}
		first, err := agent.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hold, calls := make(chan struct{}), w.calls
		w.hold = hold
		renewed := make(chan error, 1)
		go func() { renewed <- w.start("nb-07", same).Renew(t.Context()) }()
		time.Sleep(46 * time.Minute) // in which the agent's session grew old
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got, err := agent.Token(ctx); err != nil || got != first {
			t.Errorf("while another process changes the keys: %v", err)
		}
		if err := w.start("nb-07", same).Enrol(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a command beside another one: %v", err)
		}
		w.mu.Lock()
		if w.calls != calls+1 {
			t.Errorf("%d calls beside the one that waits", w.calls-calls-1)
		}
		w.mu.Unlock()
		close(hold)
		if err := <-renewed; err != nil {
			t.Error(err)
		}
		if got, err := agent.Token(t.Context()); err != nil || got == first || !w.good(got, "nb-07") {
			t.Errorf("then: %v", err)
		}
	})
}

// TestSessionsAreRenewed: in time, whatever the gateway's clock shows, and the one
// that there is serves while the centre cannot be asked.
func TestSessionsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.start("nb-07", nil)
		if err := c.Enrol(t.Context(), w.invite()); err != nil {
			t.Fatal(err)
		}
		first, err := c.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(44 * time.Minute)
		if again, err := c.Token(t.Context()); err != nil || again != first {
			t.Errorf("another session before three quarters of its life: %v", err)
		}
		time.Sleep(2 * time.Minute)
		w.cut, w.before = w.calls+1, true
		if again, err := c.Token(t.Context()); err != nil || again != first || !w.good(again, "nb-07") {
			t.Errorf("the centre could not be asked: %v", err)
		}
		second, err := c.Token(t.Context())
		if err != nil || second == first || !w.good(second, "nb-07") {
			t.Errorf("not renewed: %v", err)
		}
		if c.Refused("another") != true {
			t.Error("a session may be replaced")
		}
		if again, err := c.Token(t.Context()); err != nil || again != second {
			t.Errorf("a session that was not refused is gone: %v", err)
		}
		c.Refused(second)
		if third, err := c.Token(t.Context()); err != nil || third == second || !w.good(third, "nb-07") {
			t.Errorf("after it was refused: %v", err)
		}
	})
}

// TestStaticCredentialsGoOn: a depot with a token adopts a key when told to, and its
// token serves while that does not work; it does not ask with each sync.
func TestStaticCredentialsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		static := func(o *identity.Options) { o.Static = staticToken }
		if got, err := w.start("hz-01", static).Token(t.Context()); err != nil || got != staticToken || w.calls != 0 {
			t.Errorf("a token alone: %v, %d calls", err, w.calls)
		}
		w.cut, w.before = 1, true
		c := w.start("hz-01", func(o *identity.Options) { o.Static, o.Adopt = staticToken, true })
		for range 10 {
			if got, err := c.Token(t.Context()); err != nil || got != staticToken {
				t.Errorf("while adoption does not work: %v", err)
			}
		}
		if w.calls > 3 {
			t.Errorf("%d calls", w.calls)
		}
		time.Sleep(time.Minute + time.Second)
		if got, err := c.Token(t.Context()); err != nil || !w.good(got, "hz-01") {
			t.Errorf("adopted: %v", err)
		}
	})
}

// TestFiles: keys are for the owner alone, another depot's are refused, a
// damaged one is kept aside, and no token stays.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	token := w.invite()
	if err := w.start("nb-07", nil).Enrol(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, identity.Folder)
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "key"): 0o600, filepath.Join(dir, "boot"): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, st.Mode(), err)
		}
	}
	keys, err := identity.Open(w.dir, "nb-07")
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.Current()
	if err != nil || key == nil {
		t.Fatal(err)
	}
	saved, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil || strings.Contains(string(saved), token.Reveal()) {
		t.Errorf("the token is kept (%v)", err)
	}
	if _, err := identity.Open(w.dir, "nb-08"); err == nil || !strings.Contains(err.Error(), "belongs to depot nb-07") {
		t.Errorf("another depot: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := keys.Current(); key != nil || err != nil {
		t.Errorf("a damaged key: %v %v", key, err)
	}
	if aside, err := filepath.Glob(filepath.Join(dir, "key.damaged")); err != nil || len(aside) != 1 {
		t.Errorf("a damaged key is not kept: %v %v", aside, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Current(); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer one: %v", err)
	}
}

// TestNoProofInClear: a gateway proves nothing over http, but on its own machine.
func TestNoProofInClear(t *testing.T) {
	w := newWorld(t)
	client, err := syncapi.NewClient(syncapi.Options{URL: "http://centre.example:8080", Transport: w})
	if err != nil {
		t.Fatal(err)
	}
	c := w.start("nb-07", func(o *identity.Options) { o.Centre = client })
	if err := c.Enrol(context.Background(), w.invite()); err == nil || !strings.Contains(err.Error(), "https") || w.calls != 0 {
		t.Errorf("%v, %d calls", err, w.calls)
	}
}
