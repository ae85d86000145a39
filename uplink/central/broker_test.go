package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// brokerBench runs a broker in synctest's time.
type brokerBench struct {
	*broker
	t   *testing.T
	log *bytes.Buffer
}

func runBroker(t *testing.T, s *script, test func(b *brokerBench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := Options{Config: testConfig(), WeChat: s, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics.NewSet()}
		set := o.Metrics
		m := &meters{set: set, badTokens: set.NewCounter("bad")}
		b := &brokerBench{broker: newBroker(o, m), t: t, log: &log}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.run(ctx) }()
		synctest.Wait()
		test(b)
		cancel()
		<-done
		for _, secret := range []string{"app-secret-text", "token-"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log tells %q: %s", secret, log.String())
			}
		}
		if s.forced > 0 || s.most > 1 {
			t.Errorf("%d forced, %d at once", s.forced, s.most)
		}
	})
}

// after lets time pass.
func (b *brokerBench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *brokerBench) want(depot scan.DepotID, value, state string, retried bool) *syncapi.Token {
	b.t.Helper()
	token, view := b.give(depot)
	if view.State != state {
		b.t.Fatalf("state %+v, want %s", view, state)
	}
	if value == "" {
		if token != nil {
			b.t.Fatalf("token %+v, want none", token)
		}
		return nil
	}
	if token == nil || token.Value != value || token.Retried != retried || token.ExpiresIn <= 0 {
		b.t.Fatalf("token %+v, want %s, retried %v", token, value, retried)
	}
	return token
}

// numbered gives another text with each call.
func numbered(life time.Duration) *script {
	return &script{answer: func(n int) (wechat.AccessToken, error) {
		return wechat.AccessToken{Value: secret.Text(fmt.Sprintf("token-%d", n)), ExpiresIn: life}, nil
	}}
}

// TestRefreshMoment: at a random moment in the last 60 to 240 s.
func TestRefreshMoment(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		s := numbered(2 * time.Hour)
		runBroker(t, s, func(b *brokerBench) {
			b.want("hz-01", "token-1", stateOK, false)
			b.after(2*time.Hour - refreshEarliest - time.Second)
			if s.count() != 1 {
				t.Fatalf("refreshed earlier than 240 s before the end")
			}
			start := time.Now()
			for s.count() == 1 {
				b.after(100 * time.Millisecond)
			}
			took := time.Since(start)
			if took > refreshEarliest-refreshLatest+2*time.Second {
				t.Fatalf("refreshed %s after 240 s before the end", took)
			}
			seen[took.Round(time.Second)] = true
			b.want("hz-01", "token-2", stateOK, false)
		})
	}
	if len(seen) < 5 {
		t.Errorf("hardly random: %v", seen)
	}
}

// TestSameTextAhead: a refresh ahead of the end that gets the same text again is
// no retry; it is asked again soon, not in a loop.
func TestSameTextAhead(t *testing.T) {
	end := time.Time{}
	s := &script{}
	s.answer = func(n int) (wechat.AccessToken, error) {
		if n == 1 {
			end = time.Now().Add(2 * time.Hour)
		}
		if left := time.Until(end); left > 5*time.Second {
			return wechat.AccessToken{Value: "token-same", ExpiresIn: left}, nil
		}
		return wechat.AccessToken{Value: "token-next", ExpiresIn: 2 * time.Hour}, nil
	}
	runBroker(t, s, func(b *brokerBench) {
		b.after(2*time.Hour - 30*time.Second)
		b.want("hz-01", "token-same", stateOK, false)
		if n := s.count(); n > 25 {
			t.Errorf("%d requests in four minutes", n)
		}
		b.after(30 * time.Second)
		b.want("hz-01", "token-next", stateOK, false)
	})
}

// TestBadTokenOnce: many depots report one generation at once: one refresh.
func TestBadTokenOnce(t *testing.T) {
	s := numbered(2 * time.Hour)
	runBroker(t, s, func(b *brokerBench) {
		bad := b.want("hz-01", "token-1", stateOK, false).Generation
		s.mu.Lock()
		s.hold = make(chan struct{})
		s.mu.Unlock()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { b.wait(b.t.Context(), b.report(scan.DepotID(fmt.Sprintf("d%d", i)), bad)) })
		}
		synctest.Wait()
		b.want("hz-01", "", stateNoToken, false) // nobody gets the bad one meanwhile
		close(s.hold)
		all.Wait()
		b.want("hz-01", "token-2", stateOK, false)
		for i := range 100 { // late reports of the old one
			if b.report(scan.DepotID(fmt.Sprintf("d%d", i)), bad) != nil {
				t.Fatal("a report of an old generation is waited for")
			}
		}
		b.after(time.Second)
		if s.count() != 2 {
			t.Errorf("%d requests for one bad generation", s.count()-1)
		}
	})
}

// TestSecondRefusal: the same text is tried once more; a depot that was not told
// of it is not counted; refused again it is blocked, with pauses that double.
func TestSecondRefusal(t *testing.T) {
	s := always("token-one")
	runBroker(t, s, func(b *brokerBench) {
		g := b.want("hz-01", "token-one", stateOK, false).Generation
		b.wait(b.t.Context(), b.report("hz-01", g))
		b.want("hz-01", "token-one", stateOK, true)
		if b.report("sh-01", g); b.view().State != stateOK { // its own first refusal
			t.Fatalf("blocked by a depot that has not tried again: %+v", b.view())
		}
		b.want("sh-01", "token-one", stateOK, true)
		b.report("hz-01", g)
		b.want("hz-01", "", stateBlocked, false)
		if !strings.Contains(b.view().Reason, "someone else refreshes") {
			t.Errorf("reason %q", b.view().Reason)
		}
		b.report("sh-01", g)
		calls := s.count()
		b.after(4 * time.Second)
		if s.count() != calls {
			t.Error("asked again at once")
		}
		b.after(2 * time.Second) // the first probe: the same text, to be tried again
		b.want("hz-01", "token-one", stateOK, true)
		b.report("hz-01", g)
		b.after(9 * time.Second)
		b.want("hz-01", "", stateBlocked, false)
		b.after(2 * time.Second)
		b.want("hz-01", "token-one", stateOK, true)
		b.after(trialTime + time.Second) // nobody complains
		b.want("hz-01", "token-one", stateOK, false)
		// A refusal much later is a first one again.
		b.wait(b.t.Context(), b.report("hz-01", g))
		b.want("hz-01", "token-one", stateOK, true)
	})
}

// TestFreshTextRefused: another text, refused as well, is blocked too.
func TestFreshTextRefused(t *testing.T) {
	s := numbered(2 * time.Hour)
	runBroker(t, s, func(b *brokerBench) {
		b.wait(b.t.Context(), b.report("hz-01", b.want("hz-01", "token-1", stateOK, false).Generation))
		second := b.want("hz-01", "token-2", stateOK, false)
		b.report("hz-01", second.Generation)
		b.want("hz-01", "", stateBlocked, false)
		b.after(6 * time.Second)
		b.want("hz-01", "token-3", stateOK, false)
	})
}

// TestTokenFailures: what each refusal of stable_token leads to.
func TestTokenFailures(t *testing.T) {
	refused := func(code int, msg string) error {
		return &wechat.Error{API: "stable_token", Status: 200, Code: code, Msg: msg}
	}
	for _, c := range []struct {
		name         string
		err          error
		state, says  string
		quiet, tried time.Duration // no request before, one by then
	}{
		{"wrong secret", refused(40125, "invalid appsecret"), stateBlocked, "40125", 4 * time.Minute, 6 * time.Minute},
		{"wrong appid", refused(40013, "invalid appid"), stateBlocked, "40013", 4 * time.Minute, 6 * time.Minute},
		{"no secret", refused(41004, ""), stateBlocked, "41004", 4 * time.Minute, 6 * time.Minute},
		{"address", refused(40164, "invalid ip 203.0.113.9, not in whitelist"), stateBlocked, "203.0.113.9", 4 * time.Second, 6 * time.Second},
		{"confirmation", refused(89503, ""), stateBlocked, "89503", 4 * time.Second, 6 * time.Second},
		{"minute quota", refused(45011, ""), stateNoToken, "45011", 55 * time.Second, 70 * time.Second},
		{"daily quota", refused(45009, ""), stateNoToken, "45009", 9 * time.Minute, 11 * time.Minute},
		{"429", &wechat.Error{API: "stable_token", Status: 429, RetryAfter: 20 * time.Second}, stateNoToken, "429", 19 * time.Second, 30 * time.Second},
		{"busy", refused(-1, "system error"), stateUnreachable, "-1", 0, 3 * time.Second},
		{"502", &wechat.Error{API: "stable_token", Status: 502}, stateUnreachable, "502", 0, 3 * time.Second},
		{"no answer", errors.New("connection refused"), stateUnreachable, "connection refused", 0, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{}
			s.answer = func(n int) (wechat.AccessToken, error) {
				if n == 1 {
					return wechat.AccessToken{}, c.err
				}
				return wechat.AccessToken{Value: "token-good", ExpiresIn: time.Hour}, nil
			}
			runBroker(t, s, func(b *brokerBench) {
				b.want("hz-01", "", c.state, false)
				if !strings.Contains(b.view().Reason, c.says) {
					t.Errorf("reason %q does not tell %q", b.view().Reason, c.says)
				}
				if b.after(c.quiet); c.quiet > 0 && s.count() != 1 {
					t.Errorf("asked again within %s", c.quiet)
				}
				b.after(c.tried - c.quiet)
				b.want("hz-01", "token-good", stateOK, false)
			})
		})
	}
}

// TestSlowProbes: with a wrong secret WeChat is asked ever more rarely, and a
// depot's report changes nothing about that.
func TestSlowProbes(t *testing.T) {
	s := &script{answer: func(int) (wechat.AccessToken, error) {
		return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40125}
	}}
	runBroker(t, s, func(b *brokerBench) {
		for range 24 * 60 {
			b.report("hz-01", "whatever")
			b.after(time.Minute)
		}
		if n := s.count(); n < 20 || n > 30 {
			t.Errorf("%d requests in a day", n)
		}
	})
}

// TestGoodToItsEnd: a token serves as long as it lives while the next cannot be
// fetched, and the operator is told why; then the state is what it is.
func TestGoodToItsEnd(t *testing.T) {
	s := &script{}
	s.answer = func(n int) (wechat.AccessToken, error) {
		if n == 1 {
			return wechat.AccessToken{Value: "token-one", ExpiresIn: 2 * time.Hour}, nil
		}
		return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40164, Msg: "invalid ip 203.0.113.9"}
	}
	runBroker(t, s, func(b *brokerBench) {
		b.after(2*time.Hour - 20*time.Second)
		b.want("hz-01", "token-one", stateOK, false)
		if !strings.Contains(b.view().Reason, "203.0.113.9") {
			t.Errorf("reason %q", b.view().Reason)
		}
		b.after(30 * time.Second)
		b.want("hz-01", "", stateBlocked, false)
	})
}

// TestOutageEnds: full jitter within a minute, and all is well when WeChat is
// back.
func TestOutageEnds(t *testing.T) {
	s := &script{}
	back := false
	s.answer = func(int) (wechat.AccessToken, error) {
		if back {
			return wechat.AccessToken{Value: "token-one", ExpiresIn: time.Hour}, nil
		}
		return wechat.AccessToken{}, errors.New("no route to host")
	}
	runBroker(t, s, func(b *brokerBench) {
		b.after(time.Hour)
		if n := s.count(); n < 60 || n > 400 {
			t.Errorf("%d requests in an hour", n)
		}
		s.mu.Lock()
		back = true
		s.mu.Unlock()
		b.after(62 * time.Second)
		b.want("hz-01", "token-one", stateOK, false)
		if b.view().Reason != "" {
			t.Errorf("reason stays: %q", b.view().Reason)
		}
	})
}

// TestReportWaitIsBounded: a sync does not wait for ever for WeChat.
func TestReportWaitIsBounded(t *testing.T) {
	s := always("token-one")
	runBroker(t, s, func(b *brokerBench) {
		g := b.want("hz-01", "token-one", stateOK, false).Generation
		s.mu.Lock()
		s.hold = make(chan struct{})
		s.mu.Unlock()
		start := time.Now()
		b.wait(b.t.Context(), b.report("hz-01", g))
		if took := time.Since(start); took != reportWait {
			t.Errorf("waited %s", took)
		}
		close(s.hold)
		synctest.Wait()
	})
}

func TestNoAccount(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Config.AppID, o.Config.Secret, o.Config.Callback.Token = "", "", "" })
	if resp := b.sync(tokenHZ, syncapi.Request{NextSeq: 1}); resp.WeChat.State != stateNoToken || !strings.Contains(resp.WeChat.Reason, "appid") || resp.Token != nil {
		t.Errorf("%+v", resp.WeChat)
	}
}

// TestBadTokenOverHTTP: the sync that reports a bad token brings the fresh one.
func TestBadTokenOverHTTP(t *testing.T) {
	s := numbered(2 * time.Hour)
	b := newBench(t, func(o *Options) { o.WeChat = s })
	var first *syncapi.Token
	eventually(t, "a token", func() bool {
		first = b.sync(tokenHZ, syncapi.Request{NextSeq: 1}).Token
		return first != nil
	})
	var both sync.WaitGroup
	for _, token := range []string{tokenHZ, tokenSH} {
		both.Go(func() {
			resp, err := b.trySync(token, syncapi.Request{NextSeq: 1, BadToken: first.Generation})
			if err != nil || resp.Token == nil || resp.Token.Value != "token-2" || resp.Token.Retried {
				t.Errorf("%+v, %v", resp, err)
			}
		})
	}
	both.Wait()
	if s.count() != 2 {
		t.Errorf("%d requests for one bad token", s.count()-1)
	}
}
