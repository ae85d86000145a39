package tokens

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// bench runs tokens in synctest's time.
type bench struct {
	*Tokens
	t   *testing.T
	bad map[scan.DepotID]string // which generation a depot last complained of
}

func run(t *testing.T, s *account.Script, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := &bench{t: t, bad: map[scan.DepotID]string{}, Tokens: New(Options{
			Source: s, AppID: "wx1234567890abcdef", Secrets: Secrets{Secret: "app-secret-text"}, Now: time.Now,
			Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics.NewSet(),
		})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		synctest.Wait()
		test(b)
		cancel()
		<-done
		for _, secret := range []string{"app-secret-text", "token-"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log tells %q: %s", secret, log.String())
			}
		}
		if forced, most := s.Bad(); forced > 0 || most > 1 {
			t.Errorf("%d forced, %d at once", forced, most)
		}
	})
}

// after lets time pass.
func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) want(depot scan.DepotID, value, state string, retried bool) *syncapi.Token {
	b.t.Helper()
	token, view, err := b.Give(b.t.Context(), b.bad[depot])
	if view.State != state || err != nil {
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

// report makes a depot's complaint and returns what it may wait for.
func (b *bench) report(depot scan.DepotID, generation string) <-chan struct{} {
	b.Locked(func() { b.bad[depot] = generation })
	ended, err := b.Hear(b.t.Context(), depot, Word{Bad: generation})
	if err != nil {
		b.t.Errorf("report: %v", err)
	}
	return ended
}

// Locked runs fn while nobody else reports.
func (b *bench) Locked(fn func()) {
	b.Tokens.mu.Lock()
	defer b.Tokens.mu.Unlock()
	fn()
}

// accept says for a depot that WeChat took the token.
func (b *bench) accept(depot scan.DepotID, generation string) {
	if _, err := b.Hear(b.t.Context(), depot, Word{Accepted: generation}); err != nil {
		b.t.Errorf("hear: %v", err)
	}
}

func (b *bench) view() syncapi.WeChatView {
	_, view, err := b.Current(b.t.Context())
	if err != nil {
		b.t.Errorf("current: %v", err)
	}
	return view
}

// TestRefreshMoment: at a random moment in the last 60 to 240 s.
func TestRefreshMoment(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		s := account.Numbered(2 * time.Hour)
		run(t, s, func(b *bench) {
			b.want("hz-01", "token-1", syncapi.StateOK, false)
			b.after(2*time.Hour - refreshEarliest - time.Second)
			if s.Count() != 1 {
				t.Fatalf("refreshed earlier than 240 s before the end")
			}
			start := time.Now()
			for s.Count() == 1 {
				b.after(100 * time.Millisecond)
			}
			took := time.Since(start)
			if took > refreshEarliest-refreshLatest+2*time.Second {
				t.Fatalf("refreshed %s after 240 s before the end", took)
			}
			seen[took.Round(time.Second)] = true
			b.want("hz-01", "token-2", syncapi.StateOK, false)
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
	s := &account.Script{}
	s.Answer = func(n int) (wechat.AccessToken, error) {
		if n == 1 {
			end = time.Now().Add(2 * time.Hour)
		}
		if left := time.Until(end); left > 5*time.Second {
			return wechat.AccessToken{Value: "token-same", ExpiresIn: left}, nil
		}
		return wechat.AccessToken{Value: "token-next", ExpiresIn: 2 * time.Hour}, nil
	}
	run(t, s, func(b *bench) {
		b.after(2*time.Hour - 30*time.Second)
		b.want("hz-01", "token-same", syncapi.StateOK, false)
		if n := s.Count(); n > 25 {
			t.Errorf("%d requests in four minutes", n)
		}
		b.after(30 * time.Second)
		b.want("hz-01", "token-next", syncapi.StateOK, false)
	})
}

// TestBadTokenOnce: many depots report one generation at once: one refresh.
func TestBadTokenOnce(t *testing.T) {
	s := account.Numbered(2 * time.Hour)
	run(t, s, func(b *bench) {
		bad := b.want("hz-01", "token-1", syncapi.StateOK, false).Generation
		release := s.Hold()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { <-b.report(scan.DepotID(fmt.Sprintf("d%d", i)), bad) })
		}
		synctest.Wait()
		b.want("other", "token-1", syncapi.StateOK, false) // the word of others takes it from nobody
		b.want("d7", "", syncapi.StateOK, false)
		release()
		all.Wait()
		b.want("hz-01", "token-2", syncapi.StateOK, false)
		for i := range 100 { // late reports of the old one
			if b.report(scan.DepotID(fmt.Sprintf("d%d", i)), bad) != nil {
				t.Fatal("a report of an old generation is waited for")
			}
		}
		b.after(time.Second)
		if s.Count() != 2 {
			t.Errorf("%d requests for one bad generation", s.Count()-1)
		}
	})
}

// badToken is what WeChat answers to a call with a token that it does not take.
var badToken = &wechat.Error{API: wechat.APIQuota, Status: 200, Code: 40001, Msg: "invalid credential"}

// TestOneDepotTakesTheTokenFromNobody: a depot that complains without end, while
// WeChat takes the token, keeps no other from it, and costs little.
func TestOneDepotTakesTheTokenFromNobody(t *testing.T) {
	for name, answer := range map[string]error{"taken": nil, "not granted": &wechat.Error{Status: 200, Code: 48001}, "no answer": errors.New("timeout")} {
		t.Run(name, func(t *testing.T) {
			s := account.Always("token-one")
			var tried atomic.Int64
			s.OfQuotas = func(string) (wechat.Quota, error) { tried.Add(1); return wechat.Quota{}, answer }
			run(t, s, func(b *bench) {
				g := b.want("hz-01", "token-one", syncapi.StateOK, false).Generation
				for range 3600 {
					ended := b.report("hz-01", g)
					b.want("sh-01", "token-one", syncapi.StateOK, false)
					if ended != nil {
						<-ended
					}
					b.want("hz-01", "token-one", syncapi.StateOK, true)
					b.after(time.Second)
				}
				if tries, n := tried.Load(), s.Count(); tries > 13 || n > 361 {
					t.Errorf("%d tries and %d requests for tokens in an hour", tries, n)
				}
			})
		})
	}
}

// TestRefusalAmidSuccesses: WeChat refuses the centre's own try, its copies lag
// behind; a depot succeeds with the token, so it is good.
func TestRefusalAmidSuccesses(t *testing.T) {
	s := account.Always("token-one")
	s.OfQuotas = func(string) (wechat.Quota, error) { return wechat.Quota{}, badToken }
	run(t, s, func(b *bench) {
		g := b.want("hz-01", "token-one", syncapi.StateOK, false).Generation
		b.accept("sh-01", g)
		<-b.report("hz-01", g)
		b.want("sh-01", "token-one", syncapi.StateOK, false)
		b.want("hz-01", "token-one", syncapi.StateOK, true)
		// Nobody succeeds any more: blocked, until somebody does.
		b.after(time.Hour)
		<-b.report("hz-01", g)
		b.want("sh-01", "", syncapi.StateBlocked, false)
		b.after(time.Second)
		b.accept("sh-01", g)
		b.want("sh-01", "token-one", syncapi.StateOK, false)
	})
}

// TestSecondRefusal: WeChat refuses the token to the centre itself, gives the same
// text again and refuses that as well: blocked, with probes that double.
func TestSecondRefusal(t *testing.T) {
	s := account.Always("token-one")
	var takes atomic.Bool
	s.OfQuotas = func(string) (wechat.Quota, error) {
		if !takes.Load() {
			return wechat.Quota{}, badToken
		}
		return wechat.Quota{}, nil
	}
	run(t, s, func(b *bench) {
		g := b.want("hz-01", "token-one", syncapi.StateOK, false).Generation
		<-b.report("hz-01", g)
		b.want("sh-01", "", syncapi.StateBlocked, false)
		if !strings.Contains(b.view().Reason, "someone else refreshes") {
			t.Errorf("reason %q", b.view().Reason)
		}
		if b.report("sh-01", g) != nil {
			t.Error("a complaint of what is known is waited for")
		}
		calls := s.Count()
		b.after(4 * time.Second)
		if s.Count() != calls {
			t.Error("asked again at once")
		}
		b.after(time.Hour)
		if n := s.Count() - calls; n < 12 || n > 25 {
			t.Errorf("%d probes in an hour", n)
		}
		b.want("sh-01", "", syncapi.StateBlocked, false)
		takes.Store(true)
		b.after(5*time.Minute + time.Second)
		b.want("sh-01", "token-one", syncapi.StateOK, true)
	})
}

// TestFreshTextRefused: another text, refused to the centre as well, is blocked too.
func TestFreshTextRefused(t *testing.T) {
	s := account.Numbered(2 * time.Hour)
	s.OfQuotas = func(string) (wechat.Quota, error) { return wechat.Quota{}, badToken }
	run(t, s, func(b *bench) {
		<-b.report("hz-01", b.want("hz-01", "token-1", syncapi.StateOK, false).Generation)
		second := b.want("hz-01", "token-2", syncapi.StateOK, false)
		<-b.report("hz-01", second.Generation)
		b.want("hz-01", "", syncapi.StateBlocked, false)
		b.after(6 * time.Second)
		b.want("hz-01", "token-3", syncapi.StateOK, false)
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
		{"wrong secret", refused(40125, "invalid appsecret"), syncapi.StateBlocked, "40125", 4 * time.Minute, 6 * time.Minute},
		{"wrong appid", refused(40013, "invalid appid"), syncapi.StateBlocked, "40013", 4 * time.Minute, 6 * time.Minute},
		{"no secret", refused(41004, ""), syncapi.StateBlocked, "41004", 4 * time.Minute, 6 * time.Minute},
		{"secret frozen", refused(40243, ""), syncapi.StateBlocked, "frozen", 4 * time.Minute, 6 * time.Minute},
		{"account frozen", refused(50007, ""), syncapi.StateBlocked, "frozen", 4 * time.Minute, 6 * time.Minute},
		{"account punished", refused(50004, ""), syncapi.StateBlocked, "50004", 4 * time.Minute, 6 * time.Minute},
		{"a code that nobody knows", refused(12345, "whatever"), syncapi.StateBlocked, "12345", 4 * time.Second, 6 * time.Second},
		{"address", refused(40164, "invalid ip 203.0.113.9, not in whitelist"), syncapi.StateBlocked, "203.0.113.9", 4 * time.Second, 6 * time.Second},
		{"confirmation", refused(89503, ""), syncapi.StateBlocked, "89503", 4 * time.Second, 6 * time.Second},
		{"minute quota", refused(45011, ""), syncapi.StateNoToken, "45011", 55 * time.Second, 70 * time.Second},
		{"daily quota", refused(45009, ""), syncapi.StateNoToken, "45009", 9 * time.Minute, 11 * time.Minute},
		{"429", &wechat.Error{API: "stable_token", Status: 429, RetryAfter: 20 * time.Second}, syncapi.StateNoToken, "429", 19 * time.Second, 30 * time.Second},
		{"busy", refused(-1, "system error"), syncapi.StateUnreachable, "-1", 0, 3 * time.Second},
		{"502", &wechat.Error{API: "stable_token", Status: 502}, syncapi.StateUnreachable, "502", 0, 3 * time.Second},
		{"no answer", errors.New("connection refused"), syncapi.StateUnreachable, "connection refused", 0, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &account.Script{}
			s.Answer = func(n int) (wechat.AccessToken, error) {
				if n == 1 {
					return wechat.AccessToken{}, c.err
				}
				return wechat.AccessToken{Value: "token-good", ExpiresIn: time.Hour}, nil
			}
			run(t, s, func(b *bench) {
				b.want("hz-01", "", c.state, false)
				if !strings.Contains(b.view().Reason, c.says) {
					t.Errorf("reason %q does not tell %q", b.view().Reason, c.says)
				}
				if b.after(c.quiet); c.quiet > 0 && s.Count() != 1 {
					t.Errorf("asked again within %s", c.quiet)
				}
				b.after(c.tried - c.quiet)
				b.want("hz-01", "token-good", syncapi.StateOK, false)
			})
		})
	}
}

// TestSlowProbes: with a wrong secret WeChat is asked ever more rarely, and a
// depot's report changes nothing about that.
func TestSlowProbes(t *testing.T) {
	s := &account.Script{Answer: func(int) (wechat.AccessToken, error) {
		return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40125}
	}}
	run(t, s, func(b *bench) {
		for range 24 * 60 {
			b.report("hz-01", "whatever")
			b.after(time.Minute)
		}
		if n := s.Count(); n < 20 || n > 30 {
			t.Errorf("%d requests in a day", n)
		}
	})
}

// TestGoodToItsEnd: a token serves as long as it lives while the next cannot be
// fetched, and the operator is told why; then the state is what it is.
func TestGoodToItsEnd(t *testing.T) {
	s := &account.Script{}
	s.Answer = func(n int) (wechat.AccessToken, error) {
		if n == 1 {
			return wechat.AccessToken{Value: "token-one", ExpiresIn: 2 * time.Hour}, nil
		}
		return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40164, Msg: "invalid ip 203.0.113.9"}
	}
	run(t, s, func(b *bench) {
		b.after(2*time.Hour - 20*time.Second)
		b.want("hz-01", "token-one", syncapi.StateOK, false)
		if !strings.Contains(b.view().Reason, "203.0.113.9") {
			t.Errorf("reason %q", b.view().Reason)
		}
		b.after(30 * time.Second)
		b.want("hz-01", "", syncapi.StateBlocked, false)
	})
}

// TestOutageEnds: full jitter within a minute, and all is well when WeChat is
// back.
func TestOutageEnds(t *testing.T) {
	s := &account.Script{}
	back := false
	s.Answer = func(int) (wechat.AccessToken, error) {
		if back {
			return wechat.AccessToken{Value: "token-one", ExpiresIn: time.Hour}, nil
		}
		return wechat.AccessToken{}, errors.New("no route to host")
	}
	run(t, s, func(b *bench) {
		b.after(time.Hour)
		if n := s.Count(); n < 60 || n > 400 {
			t.Errorf("%d requests in an hour", n)
		}
		s.Locked(func() { back = true })
		b.after(62 * time.Second)
		b.want("hz-01", "token-one", syncapi.StateOK, false)
		if b.view().Reason != "" {
			t.Errorf("reason stays: %q", b.view().Reason)
		}
	})
}
