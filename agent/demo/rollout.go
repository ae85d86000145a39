package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"scanrelay/agent/scan"
	"scanrelay/agent/update/release"
	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/rollout"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/fake"
)

// A round is one sync of each gateway. So long it is for them and for the centre, and no
// shorter for who looks: on a slow machine time goes slower, and nobody falls silent.
const (
	roundOf   = 20 * time.Second
	roundTime = roundOf / speed
	speed     = 30
)

// canaries are so many, and atOnce gateways sync at a moment.
const (
	canaries = 10
	atOnce   = 16
)

// show is a rollout on its way, at a real centre.
type show struct {
	*site
	clock    atomic.Int64 // unix nanoseconds
	gateways []*gateway
	line     http.RoundTripper
	round    time.Duration // of those who look
	rings    []float64
	look     time.Duration // how long a person looks at what was halted
	operator string        // whose token it is
}

// runRollout shows a release that goes out, until it has come to its end and ctx ends; with
// a duration it must have come to its end by then.
func runRollout(ctx context.Context, o Options, dir string) (err error) {
	return newShow(o, dir).run(ctx)
}

func newShow(o Options, dir string) *show {
	s := &show{
		site:  &site{o: o, dir: dir, log: o.Logger, parts: serve.NewGroup(), cable: newCable(), adminToken: rand.Text()},
		round: roundTime, rings: []float64{0.1, 0.5, 1}, look: 20 * time.Second, operator: rand.Text(),
	}
	s.clock.Store(time.Now().UnixNano())
	for n := range o.Depots {
		s.gateways = append(s.gateways, newGateway(n, s.now(), o.Rollout == Bad))
	}
	return s
}

func (s *show) now() time.Time { return time.Unix(0, s.clock.Load()) }

func (s *show) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.parts.Stop(nil)) }()
	if err := s.open(); err != nil {
		return errors.Join(fmt.Errorf("run demo: %w", err), s.o.Listen.Close())
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if s.o.Duration > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, s.o.Duration, fmt.Errorf("the rollout has not come to its end within %s", s.o.Duration))
		defer cancel()
		ctx = limited
	}
	s.parts.Start("gateways", s.live)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case fell := <-s.parts.Fell():
			end(fell)
		case <-ctx.Done():
		}
	}()
	if err = s.course(ctx); err == nil && s.o.Duration == 0 {
		fmt.Fprintln(s.o.Out, "That is all; the page stays until Ctrl-C.")
		<-ctx.Done()
	}
	if why := context.Cause(ctx); errors.Is(why, context.Canceled) {
		err = nil // somebody ended it
	} else if why != nil {
		err = why
	}
	end(nil)
	<-watched
	return err
}

// open starts the centre with its fleet and repository, and the page.
func (s *show) open() error {
	wechat, _, err := s.startWeChat(fake.Options{})
	if err != nil {
		return err
	}
	repository := filepath.Join(s.dir, "releases")
	if err := publish(repository, s.dir); err != nil {
		return err
	}
	fleet, err := identity.OpenJournal("", s.log) // in memory
	if err != nil {
		return err
	}
	c, err := s.central(wechat, func(o *central.Options) {
		o.Now, o.Identities, o.Documents = s.now, fleet, fleet
		o.Audit = audit.Open(s.dir, s.now)
		o.Config.Updates.Dir = repository
		o.Config.Operators = []caller.Operator{{Name: "operator", Token: secret.Text(s.operator), Role: caller.Actor}}
		for _, g := range s.gateways {
			o.Config.Depots = append(o.Config.Depots, central.Depot{ID: g.id, Token: s.token(g)})
		}
	})
	if err != nil {
		return err
	}
	err = fleet.Update(context.Background(), func(t identity.Tx) error { // in memory
		for _, g := range s.gateways {
			if err := t.PutDepot(&identity.Registration{ID: g.id, Site: g.site, Created: s.now()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.centralURL, err = s.serve("centre", c.Handler()); err != nil {
		return err
	}
	line := &http.Transport{MaxIdleConnsPerHost: atOnce}
	s.line = line
	for _, g := range s.gateways {
		if g.client, err = syncapi.NewClient(syncapi.Options{URL: s.centralURL, Token: s.token(g), Transport: line}); err != nil {
			return err
		}
	}
	s.parts.Start("page", func(ctx context.Context) error {
		defer line.CloseIdleConnections()
		return serve.HTTP(ctx, s.o.Listen, c.Local(), s.log, serve.Few(), grace)
	})
	return nil
}

// token is a gateway's; it is the demo's own and of this run alone.
func (s *show) token(g *gateway) secret.Text { return secret.Text(s.adminToken + "-" + string(g.id)) }

// publish makes a repository with both versions, signed by keys that nobody needs again.
func publish(dir, work string) error {
	r, phrase := release.Repository{Dir: dir}, secret.Text(rand.Text())
	var roots []*release.Key
	for n := range release.RootKeys {
		k, err := release.NewOnlineKey(filepath.Join(work, fmt.Sprintf("root-%d.key", n+1)))
		if err != nil {
			return err
		}
		roots = append(roots, k)
	}
	keys := filepath.Join(work, "keys")
	if err := r.Init(keys, phrase, roots); err != nil {
		return err
	}
	for _, version := range []string{versionBefore, versionNext} {
		// The head of a program for linux/arm64, which nobody starts.
		elf := append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00\x01\x00\x00\x00"), make([]byte, 40)...)
		elf[52] = 64
		program := filepath.Join(work, "program")
		if err := os.WriteFile(program, append(elf, version...), 0o600); err != nil {
			return err
		}
		if _, err := r.Add(release.Release{Name: "scanrelay", Version: version}, []string{program}); err != nil {
			return err
		}
	}
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		k, err := release.LoadKey(filepath.Join(keys, role+".key"), phrase)
		if err == nil {
			_, err = r.Sign(k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// live has all gateways live and sync, round after round.
func (s *show) live(ctx context.Context) error {
	for next := time.Now(); ; next = next.Add(s.round) {
		now := time.Unix(0, s.clock.Add(int64(roundOf)))
		var syncs errgroup.Group
		syncs.SetLimit(atOnce)
		for _, g := range s.gateways {
			if now.Before(g.asleep) {
				continue
			}
			syncs.Go(func() error {
				g.live(now)
				answer, err := g.client.Sync(ctx, g.request())
				if err == nil {
					g.hear(answer.Directives, now)
				}
				return err
			})
		}
		if err := syncs.Wait(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("sync a simulated gateway: %w", err)
		}
		if site := s.twice(); site != "" {
			return fmt.Errorf("two gateways of %s are changed at once", site)
		}
		if late := time.Since(next); late > 2*s.round {
			next = time.Now()
		}
		if !wait.Sleep(ctx, time.Until(next.Add(s.round))) {
			return nil
		}
	}
}

// twice is a site two gateways of which are on trial; there must be none.
func (s *show) twice() string {
	busy := map[string]bool{}
	for _, g := range s.gateways {
		if g.site == "" || !g.changes() {
			continue
		}
		if busy[g.site] {
			return g.site
		}
		busy[g.site] = true
	}
	return ""
}

// course is what the operator does, and what is told of it.
func (s *show) course(ctx context.Context) error {
	page := "http://" + s.o.Listen.Addr().String()
	fmt.Fprintf(s.o.Out, "scanrelay demo: %d simulated gateways at a real centre; %s goes out, a %s one.\n", len(s.gateways), versionNext, s.o.Rollout)
	fmt.Fprintf(s.o.Out, "  open %s/?lang=en or %s/?lang=zh, below the tiles (Ctrl-C ends it)\n", page, page)
	fmt.Fprintf(s.o.Out, "  gateways sync, try and go back as agents say it; they download nothing, and %d s pass in each\n", speed)
	fmt.Fprintf(s.o.Out, "  to act yourself: scanrelay rollout status|pause|resume|halt|back --url %s --token %s\n", s.centralURL, s.operator)
	plan := rollout.Plan{Version: versionNext, Rings: s.rings, Soak: 600, HaltAt: 0.02}
	for _, g := range s.gateways[:canaries] {
		plan.Canaries = append(plan.Canaries, scan.DepotID(g.id))
	}
	if err := s.call(ctx, "POST", "/v1/rollouts", plan, nil); err != nil {
		return err
	}
	begun, halted := s.now(), time.Time{}
	state, ring, soaking := "", -1, false
	for {
		var said struct{ Now rollout.View }
		if err := s.call(ctx, "GET", "/v1/rollouts", nil, &said); err != nil {
			return err
		}
		v := said.Now
		if v.State != state || v.Ring != ring || soaking == v.Soaking.IsZero() {
			state, ring, soaking = v.State, v.Ring, !v.Soaking.IsZero()
			fmt.Fprintf(s.o.Out, "  %5s  %s\n", s.now().Sub(begun).Round(time.Minute), s.stands(&v))
		}
		switch {
		case v.State == rollout.Done && s.o.Rollout == Good:
			return s.good(&v)
		case v.State == rollout.Back && v.All.Has() == 0:
			return s.back(&v)
		case v.State == rollout.Halted && halted.IsZero():
			halted = time.Now()
		case v.State == rollout.Halted && time.Since(halted) > s.look:
			if err := s.call(ctx, "POST", "/v1/rollouts/back", nil, nil); err != nil {
				return err
			}
		}
		if !wait.Sleep(ctx, min(time.Second, s.round)) {
			return ctx.Err()
		}
	}
}

// stands is where a rollout stands, in a line.
func (s *show) stands(v *rollout.View) string {
	where := v.Name("en", v.Ring)
	switch {
	case v.State == rollout.Running && !v.Soaking.IsZero():
		where += ": all have it that can be reached; a soak of ten minutes"
	case v.State == rollout.Running:
		where += ": open"
	case v.State == rollout.Halted:
		where += ": halted, " + v.Why
	default:
		where += ": " + rollout.Word("en", v.State)
	}
	return fmt.Sprintf("%-60s %3d have it, %d failed", where, v.All.Has(), v.All.Failed)
}

// good says how a good release has come to its end.
func (s *show) good(v *rollout.View) error {
	if v.All.Failed > 0 {
		return fmt.Errorf("%w: %d gateways failed with a good release", errDisagree, v.All.Failed)
	}
	fmt.Fprintf(s.o.Out, "It has reached %d of %d gateways; %d are held by a shift, %d offline. Never two of one site at once.\n", v.All.Has(), v.All.Total, v.All.Held, v.All.Offline)
	return nil
}

// back says how a bad one has. It must not have met more than the canaries and the first
// ring, and nobody may run it any more.
func (s *show) back(v *rollout.View) error {
	if s.o.Rollout == Bad && v.Ring > 1 {
		return fmt.Errorf("%w: a bad release came as far as ring %d", errDisagree, v.Ring)
	}
	fmt.Fprintf(s.o.Out, "It met %d of %d gateways, crashed at %d, and nobody runs it any more: %d went back by themselves, %d when they were told.\n",
		v.All.Updated+v.All.Failed, v.All.Total, v.All.Failed, v.All.Failed, v.All.Gone)
	return nil
}

// call is one of the operator's.
func (s *show) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.centralURL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.operator)
	resp, err := (&http.Client{Transport: s.line, Timeout: syncapi.Timeout}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
