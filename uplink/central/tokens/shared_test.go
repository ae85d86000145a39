package tokens

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
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/documents"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// hall is the table of several processes, whose clock is synctest's.
type hall struct {
	*documents.Table
	mu    sync.Mutex
	lease map[string]hold
}

type hold struct {
	holder string
	ends   time.Time
}

// seat is the table as one process has it, until it is dead.
type seat struct {
	*hall
	name string
	dead bool // guarded by hall.mu
}

var errAway = errors.New("the table is away")

func (s *seat) away() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errAway
	}
	return nil
}

func (s *seat) die(dead bool) { s.mu.Lock(); defer s.mu.Unlock(); s.dead = dead }

func (s *seat) Document(ctx context.Context, name string) ([]byte, int64, error) {
	if err := s.away(); err != nil {
		return nil, 0, err
	}
	return s.hall.Document(ctx, name)
}

func (s *seat) PutDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) (bool, error) {
	if err := s.away(); err != nil {
		return false, err
	}
	return s.hall.PutDocuments(ctx, names, docs, was)
}

func (s *seat) Time(context.Context) (time.Time, error) { return time.Now(), s.away() }

func (s *seat) Lease(_ context.Context, name string, life time.Duration) (bool, error) {
	if err := s.away(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.lease[name]; ok && h.holder != s.name && time.Now().Before(h.ends) {
		return false, nil
	}
	s.lease[name] = hold{s.name, time.Now().Add(life)}
	return true, nil
}

func (s *seat) EndLease(_ context.Context, name string) error {
	if err := s.away(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease[name].holder == s.name {
		delete(s.lease, name)
	}
	return nil
}

func (s *seat) Encrypt(_ context.Context, _ string, plain []byte) ([]byte, error) {
	return []byte(strings.ToUpper(string(plain))), nil
}

func (s *seat) Decrypt(_ context.Context, _ string, sealed []byte) ([]byte, error) {
	return bytes.ToLower(sealed), nil
}

// processes of one centre.
type processes struct {
	list  []*bench
	seats []*seat
	stop  []func()
}

// together runs n processes, whose clocks are far apart, in synctest's time.
func together(t *testing.T, s *account.Script, n int, change func(i int, o *Options), test func(p *processes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hall{Table: documents.New(nil), lease: map[string]hold{}}
		p := &processes{}
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		for i := range n {
			ahead := time.Duration(i-1) * 5 * time.Hour
			at := &seat{hall: h, name: fmt.Sprint(i)}
			o := Options{
				Source: s, AppID: "wx1234567890abcdef", Secrets: Secrets{Secret: "app-secret-text"}, Table: at,
				Now:    func() time.Time { return time.Now().Add(ahead) },
				Logger: logger, Metrics: metrics.NewSet(),
			}
			if change != nil {
				change(i, &o)
			}
			b := &bench{t: t, bad: map[scan.DepotID]string{}, Tokens: New(o)}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); b.Run(ctx) }()
			p.list, p.seats = append(p.list, b), append(p.seats, at)
			p.stop = append(p.stop, func() { cancel(); <-done })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		test(p)
		for _, stop := range p.stop {
			stop()
		}
		for _, secret := range []string{"app-secret-text", "token-"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log tells %q: %s", secret, log.String())
			}
		}
		doc, _, _ := h.Document(t.Context(), recordName)
		if strings.Contains(string(doc), "token-") || strings.Contains(string(doc), "app-secret-text") {
			t.Errorf("in clear in the table: %s", doc)
		}
		if forced, _ := s.Bad(); forced > 0 {
			t.Errorf("%d forced", forced)
		}
	})
}

// want: every process gives this token.
func (p *processes) want(value, state string) *syncapi.Token {
	var token *syncapi.Token
	for i, b := range p.list {
		if p.seats[i].away() == nil {
			token = b.want("other", value, state, false)
		}
	}
	return token
}

// TestOneRefreshOfProcesses: processes whose clocks differ have one token, which one of
// them fetches; what depots complain of at all of them at once is looked into once.
func TestOneRefreshOfProcesses(t *testing.T) {
	s := account.Numbered(2 * time.Hour)
	together(t, s, 3, nil, func(p *processes) {
		p.list[0].after(shareEvery)
		first := p.want("token-1", syncapi.StateOK)
		if first.ExpiresIn < 7100 || first.ExpiresIn > 7200 {
			t.Errorf("it lives for %d s", first.ExpiresIn)
		}
		p.list[0].after(2*time.Hour - refreshEarliest - time.Minute)
		if s.Count() != 1 {
			t.Fatalf("%d requests", s.Count())
		}
		p.list[0].after(refreshEarliest)
		if s.Count() != 2 {
			t.Fatalf("%d requests for two tokens", s.Count())
		}
		bad := p.want("token-2", syncapi.StateOK).Generation
		var all sync.WaitGroup
		for i, b := range p.list {
			for n := range 20 {
				all.Go(func() {
					if ended := b.report(scan.DepotID(fmt.Sprintf("d%d-%d", i, n)), bad); ended != nil {
						<-ended
					}
				})
			}
		}
		all.Wait()
		p.list[0].after(shareEvery + time.Second)
		p.want("token-3", syncapi.StateOK)
		if _, most := s.Bad(); s.Count() != 3 || most != 1 {
			t.Errorf("%d requests, %d at once", s.Count(), most)
		}
	})
}

// TestHolderKilled: who dies while it asks WeChat, at any moment, is followed by another
// when its lease ends; the token that is good serves meanwhile.
func TestHolderKilled(t *testing.T) {
	s := account.Numbered(2 * time.Hour)
	together(t, s, 2, nil, func(p *processes) {
		bad := p.want("token-1", syncapi.StateOK).Generation
		release := s.Hold()
		p.list[0].report("d0", bad)
		p.list[0].after(time.Second)
		if s.Count() != 2 {
			t.Fatalf("%d requests", s.Count())
		}
		p.seats[0].die(true)
		p.list[1].report("d1", bad)
		p.list[1].after(leaseLife / 2)
		p.list[1].want("other", "token-1", syncapi.StateOK, false)
		if s.Count() != 2 {
			t.Fatalf("%d requests before the lease ended", s.Count())
		}
		release()
		p.list[1].after(leaseLife)
		p.list[1].want("other", "token-3", syncapi.StateOK, false)
		p.seats[0].die(false) // it was only cut off
		p.list[0].after(shareEvery + failPause)
		p.want("token-3", syncapi.StateOK)
		if s.Count() != 3 {
			t.Errorf("%d requests", s.Count())
		}
	})
}

// TestTableAway: without the table nobody asks WeChat, and the token serves to its end;
// afterwards all goes on.
func TestTableAway(t *testing.T) {
	s := account.Numbered(time.Hour)
	together(t, s, 2, nil, func(p *processes) {
		p.want("token-1", syncapi.StateOK)
		for _, at := range p.seats {
			at.die(true)
		}
		p.list[0].after(59 * time.Minute)
		for _, b := range p.list {
			b.want("other", "token-1", syncapi.StateOK, false)
		}
		p.list[0].after(2 * time.Minute)
		for _, b := range p.list {
			b.want("other", "", syncapi.StateNoToken, false)
		}
		if s.Count() != 1 {
			t.Errorf("%d requests while the table is away", s.Count())
		}
		for _, at := range p.seats {
			at.die(false)
		}
		p.list[0].after(shareEvery + failPause)
		p.want("token-2", syncapi.StateOK)
	})
}

// TestSuccessElsewhere: a token with which a depot of one process succeeds is not withdrawn
// for what the depots of another say, though WeChat refuses it to the centre.
func TestSuccessElsewhere(t *testing.T) {
	for _, succeeds := range []bool{true, false} {
		s := account.Always("token-same")
		s.OfQuotas = func(string) (wechat.Quota, error) { return wechat.Quota{}, badToken }
		together(t, s, 2, nil, func(p *processes) {
			same := p.want("token-same", syncapi.StateOK).Generation
			if succeeds {
				p.list[1].accept("d1", same)
			}
			p.list[1].after(shareEvery + time.Second)
			p.list[0].report("d0", same)
			p.list[0].after(shareEvery + time.Second)
			if want := map[bool]string{true: syncapi.StateOK, false: syncapi.StateBlocked}[succeeds]; p.list[0].view().State != want || p.list[1].view().State != want {
				t.Errorf("succeeds %v: %+v, %+v", succeeds, p.list[0].view(), p.list[1].view())
			}
			if !succeeds { // until one does
				p.list[1].accept("d1", same)
				p.list[1].after(shareEvery + time.Second)
				p.want("token-same", syncapi.StateOK)
			}
		})
	}
}

// TestSecretOfOneProcess: what one process' AppSecret is refused with holds up no other
// that has the right one, and is not asked again and again.
func TestSecretOfOneProcess(t *testing.T) {
	s := account.Numbered(time.Hour)
	s.Wrong = "of-before"
	together(t, s, 2, func(i int, o *Options) {
		if i == 0 {
			o.Secrets.Secret = "of-before"
		}
	}, func(p *processes) {
		p.list[0].after(shareEvery + time.Second)
		p.want("token-"+fmt.Sprint(s.Count()), syncapi.StateOK)
		p.list[0].after(10 * time.Hour)
		p.list[0].after(shareEvery + time.Second)
		if n := s.Count(); n > 30 {
			t.Errorf("%d requests in ten lives of a token", n)
		}
		if err := p.list[0].Change(t.Context(), Secrets{Secret: secret.Text("app-secret-text")}); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			p.list[0].after(time.Hour)
			if p.list[i%2].view().State != syncapi.StateOK {
				t.Errorf("%+v", p.list[i%2].view())
			}
		}
	})
}
