package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/syncapi"
)

// TestEnded: a backup brings back nothing of what ended since; what was enrolled
// after that, perhaps at another process, stays. A damaged line ends nobody else.
func TestEnded(t *testing.T) {
	dir := t.TempDir()
	e := OpenEnded(dir)
	at := time.Unix(1_795_400_000, 0).UTC()
	key := bytes.Repeat([]byte{7}, 32)
	yes := true
	for _, l := range []end{
		{Time: at, Depot: "hz-01", Revoked: &yes, Reason: "stolen"},
		{Time: at, Depot: "hz-02", Key: syncapi.Fingerprint(key)},
	} {
		if err := e.add(l); err != nil {
			t.Fatal(err)
		}
	}
	start := func(enrolled time.Time) (state string, log *bytes.Buffer) {
		t.Helper()
		j, log := open(t, t.TempDir())
		err := j.Update(t.Context(), func(t Tx) error {
			for _, id := range []scan.DepotID{"hz-00", "hz-01", "hz-02"} {
				if err := t.PutDepot(&Registration{ID: id, Key: []byte("another"), Enrolled: enrolled}); err != nil {
					return err
				}
			}
			return t.PutDepot(&Registration{ID: "hz-02", Key: key, Enrolled: enrolled})
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &Service{o: Options{Store: j, Ended: OpenEnded(dir), Logger: slog.New(slog.NewTextHandler(log, nil))}}
		if err := s.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := s.Registrations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, r := range list {
			states = append(states, r.State())
		}
		return strings.Join(states, " "), log
	}
	for enrolled, want := range map[time.Time]string{
		at.Add(-time.Hour): "enrolled revoked invited", at.Add(time.Hour): "enrolled enrolled enrolled",
	} {
		if got, log := start(enrolled); got != want || log.Len() > 0 {
			t.Errorf("enrolled %s: %s, want %s; %s", enrolled, got, want, log)
		}
	}
	path := filepath.Join(dir, EndedName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("hz-01"))+4] ^= 1 // hz-00
	if err := os.WriteFile(path, append(data, make([]byte, 100<<10)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, log := start(at.Add(-time.Hour)); got != "enrolled enrolled invited" || !strings.Contains(log.String(), "lines=2") {
		t.Errorf("after damage: %s; %s", got, log)
	}
}

// refusing is a Store that takes no change while full is set.
type refusing struct {
	Store
	full bool
}

func (f *refusing) Update(ctx context.Context, fn func(Tx) error) error {
	return f.Store.Update(ctx, func(t Tx) error {
		if err := fn(t); err != nil || !f.full {
			return err
		}
		return errors.New("no space left on device")
	})
}

// service is one on a store, at a time that stands.
func service(t *testing.T, store Store, ended *Ended, now time.Time) *Service {
	t.Helper()
	keys := caller.NewKeyring(caller.Options{Now: time.Now, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	s, err := New(t.Context(), Options{
		Store: store, Ended: ended, Keys: keys, Now: func() time.Time { return now },
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
	}, func() Config { return Config{EnrolValid: time.Hour, Session: time.Hour} })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func enrol(t *testing.T, s *Service, token string) error {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Enrol(t.Context(), "", &syncapi.Enrol{
		Depot: "hz-01", Key: public, Token: token, Proof: ed25519.Sign(private, syncapi.EnrolMessage("hz-01", public, token)),
	}, "")
	return err
}

// TestEndsWhatEnded: what the store did not take ends nothing beside it either: else
// the next start would lock the depot out, for a change that nobody made.
func TestEndsWhatEnded(t *testing.T) {
	journal, _ := open(t, t.TempDir())
	store, ended := &refusing{Store: journal}, OpenEnded(t.TempDir())
	now := time.Unix(1_795_400_000, 0)
	s := service(t, store, ended, now)
	i, err := s.Add(t.Context(), Actor{}, Depot{ID: "hz-01"})
	if err == nil {
		err = enrol(t, s, i.Token)
	}
	if err == nil {
		i, err = s.Reset(t.Context(), Actor{}, "hz-01")
	}
	if err != nil {
		t.Fatal(err)
	}
	store.full = true
	if enrol(t, s, i.Token) == nil || s.Revoke(t.Context(), Actor{}, "hz-01", "stolen") == nil {
		t.Error("a full store took something")
	}
	store.full = false
	state := func() string {
		t.Helper()
		r, err := service(t, store, ended, now).Registration(t.Context(), "hz-01")
		if err != nil || r == nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r.State(), len(r.Past))
	}
	if got := state(); got != "enrolled0" {
		t.Errorf("a start after what failed: %s", got)
	}
	if enrol(t, s, i.Token) != nil || s.Revoke(t.Context(), Actor{}, "hz-01", "stolen") != nil || state() != "revoked1" {
		t.Errorf("in the end: %s", state())
	}
}

// TestEndedIsMadeUpFor: what the store has and the file lacks, as where a process died
// in between or no disk took the line, stands in the file after a start.
func TestEndedIsMadeUpFor(t *testing.T) {
	journal, _ := open(t, t.TempDir())
	now := time.Unix(1_795_400_000, 0)
	s := service(t, journal, OpenEnded(filepath.Join(t.TempDir(), "missing")), now)
	i, err := s.Add(t.Context(), Actor{}, Depot{ID: "hz-01"})
	for range 2 {
		if err == nil {
			err = enrol(t, s, i.Token)
		}
		if err == nil {
			i, err = s.Reset(t.Context(), Actor{}, "hz-01")
		}
	}
	if err == nil {
		err = s.Revoke(t.Context(), Actor{}, "hz-01", "stolen")
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := OpenEnded(t.TempDir())
	for range 2 {
		service(t, journal, ended, now)
	}
	data, err := os.ReadFile(ended.path)
	if n := bytes.Count(data, []byte("hz-01")); err != nil || n != 2 || !bytes.Contains(data, []byte("stolen")) {
		t.Errorf("%s, %v", data, err)
	}
}

// TestEndedIsBounded: however often keys change the file has the last word about each
// depot and the keys that ended last. What was damaged is kept.
func TestEndedIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, EndedName)
	if err := os.WriteFile(path, []byte("\nno line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := OpenEnded(dir)
	yes := true
	at := time.Unix(1_795_400_000, 0).UTC()
	for range 12 {
		var lines []end
		for range 1000 {
			at = at.Add(time.Second)
			lines = append(lines, end{Time: at, Depot: "hz-01", Key: fmt.Sprintf("%064d", at.Unix())})
		}
		lines = append(lines, end{Time: at, Depot: "hz-02", Revoked: &yes, Reason: "stolen"})
		if err := e.add(lines...); err != nil {
			t.Fatal(err)
		}
	}
	last, keys, damaged, err := e.read()
	_, newest := keys[fmt.Sprintf("%064d", at.Unix())]
	if err != nil || damaged > 0 || len(last) != 1 || last["hz-02"].Reason != "stolen" || !newest || len(keys) < maxPast || durable.Size(path) > compactAbove {
		t.Errorf("%d bytes, %d keys, %d damaged, %+v, %v", durable.Size(path), len(keys), damaged, last, err)
	}
	if kept, err := os.ReadFile(path + durable.AsideSuffix); err != nil || !bytes.Contains(kept, []byte("no line")) {
		t.Errorf("the damaged file: %v", err)
	}
}

// TestEndedNewer: what a newer scanrelay wrote is refused, not passed over.
func TestEndedNewer(t *testing.T) {
	e := OpenEnded(t.TempDir())
	line, err := formatLine(end{Version: endedVersion + 1, Depot: "hz-01"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.path, line, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := e.read(); !errors.Is(err, durable.ErrNewer) {
		t.Errorf("%v", err)
	}
}

// TestTicketsAreBounded: join tokens that ended long ago are forgotten, and there is
// an end to how many are good at once.
func TestTicketsAreBounded(t *testing.T) {
	journal, _ := open(t, "")
	now := time.Unix(1_795_400_000, 0)
	join := func() error {
		_, err := service(t, journal, nil, now).Join(t.Context(), Actor{}, 1, "hz-*")
		return err
	}
	tickets := func() (n int) {
		t.Helper()
		err := journal.View(t.Context(), func(t Tx) error { all, err := t.Tickets(); n = len(all); return err })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	err := journal.Update(t.Context(), func(t Tx) error {
		all := map[string]Ticket{}
		for i := range maxTickets - 1 {
			all[fmt.Sprint(i)] = Ticket{Expires: now.Add(time.Hour), IDs: "hz-*", Left: 1}
		}
		return t.PutTickets(all)
	})
	if err == nil {
		err = join()
	}
	if err != nil {
		t.Fatal(err)
	}
	var refusal *Refusal
	if err := join(); !errors.As(err, &refusal) || !strings.Contains(refusal.Why, "wait until one has ended") || tickets() != maxTickets {
		t.Errorf("one more: %v, %d are kept", err, tickets())
	}
	now = now.Add(2 * time.Hour)
	if err := join(); err != nil || tickets() != maxTickets {
		t.Errorf("once they ended: %v, %d are kept", err, tickets())
	}
	now = now.Add(keepTicket)
	if err := join(); err != nil || tickets() != 2 {
		t.Errorf("a week later: %v, %d are kept", err, tickets())
	}
}

// TestEndedWave: what ends while the disk is busy is written together.
func TestEndedWave(t *testing.T) {
	const wave = 100
	e := OpenEnded(t.TempDir())
	e.mu.Lock()
	var all sync.WaitGroup
	for i := range wave {
		all.Go(func() {
			if err := e.add(end{Time: time.Unix(1, 0), Depot: "hz-01", Key: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		e.queue.Lock()
		n := len(e.unwritten)
		e.queue.Unlock()
		if n == wave {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait", n)
		}
	}
	e.mu.Unlock()
	all.Wait()
	data, err := os.ReadFile(e.path)
	if begins := bytes.Count(data, []byte("\n")) - wave; err != nil || begins != 1 { // each writing begins a line anew
		t.Errorf("written %d times, %v", begins, err)
	}
	if _, keys, damaged, err := e.read(); len(keys) != wave || damaged > 0 || err != nil {
		t.Errorf("%d keys, %d damaged, %v", len(keys), damaged, err)
	}
}
