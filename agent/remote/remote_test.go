package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/uplink/syncapi/directive"
)

// gateway has a configuration in use: what the centre gave, by its text.
type gateway struct {
	t       *testing.T
	dir     string
	bodies  map[int64]string // at the centre
	gets    int
	inUse   string
	sick    map[string]bool // configurations with which no scans are taken
	deaf    map[string]bool // with which no sync is answered
	applied []string
	last    *directive.ConfigState
	synced  time.Time
	unused  string    // why this version does not take what it has
	broken  time.Time // until when its own file has a mistake
}

func (g *gateway) file() string {
	content, err := os.ReadFile(filepath.Join(g.dir, "central.yaml"))
	if err != nil {
		return "before"
	}
	return string(content)
}

func (g *gateway) apply(given []byte) error {
	next := g.file()
	if given != nil {
		next = string(given)
	}
	if given == nil && time.Now().Before(g.broken) {
		return errors.New("agent.yaml:1: a mistake")
	}
	if strings.Contains(next, "wrong") {
		return errors.New("central.yaml:1: sources: are wrong")
	}
	g.inUse = next
	g.applied = append(g.applied, next)
	return nil
}

func (g *gateway) get(r *http.Request) (*http.Response, error) {
	g.gets++
	var revision int64
	if _, err := fmt.Sscanf(r.URL.RawQuery, "revision=%d", &revision); err != nil {
		g.t.Error(err)
	}
	body, ok := g.bodies[revision]
	if !ok {
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func newGateway(t *testing.T) *gateway {
	return &gateway{t: t, dir: t.TempDir(), bodies: map[int64]string{}, sick: map[string]bool{}, deaf: map[string]bool{}}
}

func (g *gateway) put(revision int64, body string) *directive.Config {
	g.bodies[revision] = body
	return &directive.Config{Name: "all", Revision: revision, SHA256: sum([]byte(body))}
}

// live is one process, which the centre tells what it wants.
func (g *gateway) live(want *directive.Config, most time.Duration) {
	g.inUse = g.file() // as a start does
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	k := New(Config{
		Dir: g.dir, Unused: g.unused, Get: g.get, Address: "http://centre" + directive.ConfigPath, Apply: g.apply, Log: slog.New(slog.DiscardHandler),
		Healthy: func() error {
			if g.sick[g.inUse] {
				return errors.New("not subscribed")
			}
			return nil
		},
		LastSync: func() time.Time {
			if !g.deaf[g.inUse] {
				g.synced = time.Now().Truncate(5 * time.Second)
			}
			return g.synced
		},
	})
	k.Heard(want)
	if err := k.Run(ctx); err != nil {
		g.t.Error(err)
	}
	g.last = k.Report()
}

func (g *gateway) is(inUse, state, reason string) {
	g.t.Helper()
	if g.inUse != inUse || g.last == nil || g.last.State != state || !strings.Contains(g.last.Reason, reason) {
		g.t.Errorf("%q is in use, %+v; want %q, %s, %s", g.inUse, g.last, inUse, state, reason)
	}
}

func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.live(nil, time.Minute)
		if g.last != nil || g.gets > 0 {
			t.Errorf("nothing is wanted: %+v", g.last)
		}
		one := g.put(1, "one")
		g.live(one, 5*time.Second)
		g.is("one", directive.Trying, "")
		if g.file() != "before" {
			t.Error("a start would use what is on trial")
		}
		for range 5 { // an end as planned is no failure
			g.live(one, 2*time.Second)
		}
		g.live(one, time.Minute)
		g.is("one", directive.Applied, "")
		gets := g.gets
		g.live(one, time.Hour)
		g.is("one", directive.Applied, "")
		if g.gets != gets || g.file() != "one" {
			t.Errorf("%d calls, a start uses %q", g.gets-gets, g.file())
		}
		g.live(g.put(2, "two"), time.Minute)
		g.is("two", directive.Applied, "")
	})
}

// TestNotTakenByAnother: what one version kept and the next one refuses is not told of as
// applied, is not tried again, and counts again for a version that takes it.
func TestNotTakenByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		one := g.put(1, "one")
		g.live(one, time.Minute)
		g.is("one", directive.Applied, "")
		gets := g.gets
		g.unused = "central.yaml:1: sources: are wrong"
		g.live(one, time.Hour)
		g.is("one", directive.TakenBack, "this version does not take it: central.yaml:1")
		if g.gets != gets {
			t.Errorf("%d calls", g.gets-gets)
		}
		g.live(g.put(2, "two"), time.Minute)
		g.is("two", directive.Applied, "")
		g.unused = ""
		g.live(nil, time.Minute)
		g.is("two", directive.Applied, "")
	})
}

func TestTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.live(g.put(1, "one"), time.Minute)
		g.sick["two"], g.deaf["three"] = true, true
		revision := int64(2)
		for body, why := range map[string]string{"two": "not subscribed", "three": "no sync", "wrong": "are wrong"} {
			want := g.put(revision, body)
			revision++
			g.live(want, 10*time.Minute)
			g.is("one", directive.TakenBack, why)
			gets := g.gets
			g.live(want, time.Hour)
			g.is("one", directive.TakenBack, why)
			if g.gets != gets || g.file() != "one" {
				t.Errorf("%s is tried again, or a start uses %q", body, g.file())
			}
		}
		g.live(g.put(9, "nine"), time.Minute)
		g.is("nine", directive.Applied, "")
	})
}

// TestTakenBackOfAFileWithAMistake: what was taken back goes out of use as soon as the
// gateway's own file can be read again.
func TestTakenBackOfAFileWithAMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.sick["one"], g.broken = true, time.Now().Add(10*time.Minute)
		g.live(g.put(1, "one"), 15*time.Minute)
		g.is("before", directive.TakenBack, "not subscribed")
	})
}

// TestFetch: what is not what the centre named is not tried, and asked for again.
func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		want := g.put(1, "one")
		for _, body := range []string{"another", strings.Repeat("x", directive.MaxBody+1)} {
			g.bodies[1] = body
			g.live(want, 10*time.Minute)
		}
		delete(g.bodies, 1)
		g.live(want, 10*time.Minute)
		if g.gets < 20 || g.gets > 33 || len(g.applied) > 0 || g.last != nil {
			t.Errorf("%d calls, %v in use, %+v", g.gets, g.applied, g.last)
		}
		g.bodies[1] = "one"
		g.live(want, time.Minute)
		g.is("one", directive.Applied, "")
	})
}

// TestPowerCuts: whatever was written when it came, an agent starts with the one before or
// with what was kept, and goes on; with one that ends the agent again and again it stops.
func TestPowerCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		one := g.put(1, "one")
		k := New(Config{Dir: g.dir, Log: slog.New(slog.DiscardHandler)})
		for tries := 1; tries <= maxTries; tries++ {
			if err := k.set(state{Tried: *one, State: directive.Trying, Tries: tries}); err != nil {
				t.Fatal(err)
			}
			if New(k.c).now.State != directive.Trying || g.file() != "before" {
				t.Errorf("before it was kept: %+v", New(k.c).now)
			}
			if tries < maxTries {
				g.live(one, 2*time.Second)
				g.is("one", directive.Trying, "")
			}
		}
		g.live(one, time.Minute)
		g.is("before", directive.TakenBack, "ended 3 times")
		two := g.put(2, "two")
		if err := errors.Join(k.set(state{Tried: *two, State: directive.Trying, Tries: 1}), os.WriteFile(filepath.Join(g.dir, "central.yaml"), []byte("two"), 0o600)); err != nil {
			t.Fatal(err)
		}
		gets := g.gets
		g.live(two, time.Minute)
		g.is("two", directive.Applied, "")
		if g.gets != gets {
			t.Error("what was kept is fetched again")
		}
		for _, spoilt := range []string{"", "\x00\x00\x00\x00", "garbage"} {
			if err := os.WriteFile(filepath.Join(g.dir, "central-config"), []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
			g.live(two, time.Minute) // it is tried again
			g.is("two", directive.Applied, "")
		}
	})
}
