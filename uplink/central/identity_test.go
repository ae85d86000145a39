package central_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// registry is a centre whose clock stands where the test puts it, with files that
// another centre can take over.
type registry struct {
	*centraltest.Bench
	t   *testing.T
	dir string
	log *locked

	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (g *registry) Now() time.Time          { g.mu.Lock(); defer g.mu.Unlock(); return g.now }
func (g *registry) pass(d time.Duration)    { g.mu.Lock(); defer g.mu.Unlock(); g.now = g.now.Add(d) }
func (g *registry) File(name string) string { return filepath.Join(g.dir, name) }

func newRegistry(t *testing.T, dir string, change func(*central.Options)) *registry {
	t.Helper()
	g := &registry{t: t, dir: dir, now: time.Now(), log: &locked{}}
	journal, err := identity.OpenJournal(dir, slog.New(slog.NewTextHandler(g.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	entries := audit.Open(dir, g.Now)
	t.Cleanup(func() {
		if err := errors.Join(journal.Close(), entries.Close()); err != nil {
			t.Error(err)
		}
	})
	g.Bench = centraltest.New(t, func(o *central.Options) {
		o.Now, o.Identities, o.Ended, o.Audit = g.Now, journal, identity.OpenEnded(dir), entries
		o.Logger = slog.New(slog.NewTextHandler(g.log, nil))
		if change != nil {
			change(o)
		}
	})
	return g
}

// ask makes an administrator's call, which must be answered with the status.
func (g *registry) ask(method, path string, body any, status int) map[string]any {
	g.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		g.t.Fatal(err)
	}
	code, out := g.Admin(method, path, string(text))
	if code != status {
		g.t.Fatalf("%s %s: %d %s, want %d", method, path, code, out, status)
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

func (g *registry) invite(path string, body any) secret.Text {
	g.t.Helper()
	return secret.Text(g.ask("POST", path, body, 200)["enrol_token"].(string))
}

// gateway is a depot's side.
type gateway struct {
	t      *testing.T
	client *syncapi.Client
	id     scan.DepotID
	key    ed25519.PrivateKey
	boot   string
}

func (g *registry) gateway(id scan.DepotID, boot string) *gateway {
	g.t.Helper()
	client, err := syncapi.NewClient(syncapi.Options{URL: g.URL})
	if err != nil {
		g.t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return &gateway{g.t, client, id, key, boot}
}

// enrol returns the status.
func (w *gateway) enrol(token, credential secret.Text) int {
	w.t.Helper()
	_, err := w.client.Enrol(w.t.Context(), syncapi.NewEnrol(w.id, w.key, token), credential)
	return status(err)
}

// status of a call that may have succeeded.
func status(err error) int {
	if err == nil {
		return 200
	}
	return centraltest.Status(err)
}

// session returns one, or the status of what was refused.
func (w *gateway) session() (secret.Text, int) {
	w.t.Helper()
	nonce, err := w.client.Nonce(w.t.Context(), w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := w.client.Session(w.t.Context(), syncapi.NewProve(w.id, w.key, nonce.Nonce, w.boot, w.client.Origin()))
	return secret.Text(s.Session), status(err)
}

func (w *gateway) mustSession() secret.Text {
	w.t.Helper()
	s, code := w.session()
	if code != 200 {
		w.t.Fatalf("no session for %s: %d", w.id, code)
	}
	return s
}

// syncs returns the status of a sync with a bearer token.
func (g *registry) syncs(token secret.Text) int {
	g.t.Helper()
	_, err := g.TrySync(token.Reveal(), syncapi.Request{})
	return status(err)
}

// audited reports whether the audit log has such an entry.
func (g *registry) audited(action, depot, result string) bool {
	g.t.Helper()
	found := false
	for _, e := range g.ask("GET", "/v1/audit", nil, 200)["entries"].([]any) {
		e := e.(map[string]any)
		of, _ := e["depot"].(string)
		found = found || e["action"] == action && of == depot && e["result"] == result
	}
	return found
}

// TestEnrolment: one token, one key. The same again, also at a centre that was killed
// in between, gets the same answer; all else is refused and audited.
func TestEnrolment(t *testing.T) {
	dir := t.TempDir()
	g := newRegistry(t, dir, nil)
	token := g.invite("/v1/depots", map[string]any{"id": "nb-07", "name": "宁波七部", "site": "nb", "labels": map[string]string{"region": "east"}})
	g.ask("POST", "/v1/depots", map[string]any{"id": "nb-07"}, 409)
	one, other := g.gateway("nb-07", "a"), g.gateway("nb-07", "b")
	stranger := g.gateway("nb-08", "c")
	if code := stranger.enrol(token, ""); code != 401 {
		t.Errorf("the token for another id: %d", code)
	}
	if code := one.enrol("sre-nobody", ""); code != 401 {
		t.Errorf("a token of nobody: %d", code)
	}
	if code := one.enrol(token, ""); code != 200 {
		t.Fatalf("enrol: %d", code)
	}
	if code := other.enrol(token, ""); code != 403 {
		t.Errorf("the token with another key: %d", code)
	}
	g.pass(48 * time.Hour)
	if code := one.enrol(token, ""); code != 200 {
		t.Errorf("the same again, late: %d", code)
	}
	again := newRegistry(t, copied(t, dir), nil) // as a power cut at the centre leaves it
	again.pass(48 * time.Hour)
	moved := again.gateway("nb-07", "a")
	moved.key = one.key
	if code := moved.enrol(token, ""); code != 200 {
		t.Errorf("the same again at a centre that was killed: %d", code)
	}
	if code := again.syncs(moved.mustSession()); code != 200 {
		t.Errorf("a sync with the session: %d", code)
	}
	for _, want := range [][3]string{{"depot.add", "nb-07", "ok"}, {"depot.enrol", "nb-07", "ok"}, {"depot.enrol", "nb-07", "refused"}, {"depot.enrol", "nb-08", "refused"}} {
		if !g.audited(want[0], want[1], want[2]) {
			t.Errorf("the audit log has no %v", want)
		}
	}
	all := len(g.ask("GET", "/v1/audit", nil, 200)["entries"].([]any))
	for since, want := range map[string]int{"1h": 0, "1d12h": 0, "7d": all, "-72h": all, "4102444800": 0, "2020-01-01T00:00:00Z": all} {
		if got := len(g.ask("GET", "/v1/audit?since="+since, nil, 200)["entries"].([]any)); (got > 0) != (want > 0) {
			t.Errorf("since %s: %d entries of %d", since, got, all)
		}
	}
	for _, since := range []string{"soon", "1w", "99999999999d"} {
		g.ask("GET", "/v1/audit?since="+since, nil, 400)
	}
	late := g.gateway("nb-09", "d")
	token = g.invite("/v1/depots", map[string]any{"id": "nb-09"})
	g.pass(25 * time.Hour)
	if code := late.enrol(token, ""); code != 403 {
		t.Errorf("a token that has expired: %d", code)
	}
	if token = g.invite("/v1/depots/nb-09/reset", nil); late.enrol(token, "") != 200 {
		t.Error("a new token does not enrol")
	}
	v := g.ask("GET", "/v1/depots/nb-07", nil, 200)
	if v["name"] != "宁波七部" || v["state"] != "enrolled" || v["key"] != syncapi.Fingerprint(one.key.Public().(ed25519.PublicKey)) {
		t.Errorf("shown as %v", v)
	}
	for _, name := range []string{identity.JournalName, audit.Name} {
		if text := read(t, g.File(name)); strings.Contains(text, token.Reveal()) {
			t.Errorf("%s holds a token", name)
		}
	}
	if strings.Contains(g.log.String(), token.Reveal()) {
		t.Error("the log holds a token")
	}
}

// TestSessions: a session is one depot's, ends with the next, after its life, and
// outlives a restart of the centre. A proof works once, at its own centre.
func TestSessions(t *testing.T) {
	dir := t.TempDir()
	g := newRegistry(t, dir, nil)
	w := g.gateway("nb-07", "a")
	if code := w.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), ""); code != 200 {
		t.Fatal(code)
	}
	nonce, err := w.client.Nonce(t.Context(), w.id)
	if err != nil {
		t.Fatal(err)
	}
	prove := func(change func(*syncapi.Prove)) int {
		p := syncapi.NewProve(w.id, w.key, nonce.Nonce, "a", w.client.Origin())
		change(&p)
		_, err := w.client.Session(t.Context(), p)
		return status(err)
	}
	for name, change := range map[string]func(*syncapi.Prove){
		"another boot than was signed":   func(p *syncapi.Prove) { p.Boot = "b" },
		"another origin than was signed": func(p *syncapi.Prove) { p.Origin = "https://elsewhere" },
		"another depot":                  func(p *syncapi.Prove) { p.Depot = "hz-01" },
		"a nonce that was made up":       func(p *syncapi.Prove) { p.Nonce = "srn1.nb-07.1.x.AAAA" },
		"a session for a nonce":          func(p *syncapi.Prove) { p.Nonce = "srs1." + p.Nonce[5:] },
		"no signature":                   func(p *syncapi.Prove) { p.Signature = nil },
	} {
		if code := prove(change); code != 401 {
			t.Errorf("%s: %d", name, code)
		}
	}
	foreign := newRegistry(t, t.TempDir(), nil)
	if other, err := foreign.gateway("nb-07", "a").client.Nonce(t.Context(), "nb-07"); err != nil || prove(func(p *syncapi.Prove) {
		*p = syncapi.NewProve(w.id, w.key, other.Nonce, "a", w.client.Origin())
	}) != 401 {
		t.Errorf("a nonce of another centre was taken (%v)", err)
	}
	same := func(*syncapi.Prove) {}
	if code := prove(same); code != 200 {
		t.Fatalf("a sound proof: %d", code)
	}
	if code := prove(same); code != 401 {
		t.Errorf("the proof again: %d", code)
	}
	nonce, _ = w.client.Nonce(t.Context(), w.id)
	g.pass(61 * time.Second)
	if code := prove(same); code != 401 {
		t.Errorf("a nonce of a minute ago: %d", code)
	}

	first := w.mustSession()
	second := w.mustSession()
	if g.syncs(first) != 401 || g.syncs(second) != 200 {
		t.Error("two sessions of a depot live")
	}
	again := newRegistry(t, copied(t, dir), nil)
	again.mu.Lock()
	again.now = g.Now()
	again.mu.Unlock()
	if code := again.syncs(second); code != 200 {
		t.Errorf("after a restart of the centre: %d", code)
	}
	parts := strings.Split(second.Reveal(), ".")
	parts[1] = "hz-01"
	if code := g.syncs(secret.Text(strings.Join(parts, "."))); code != 401 {
		t.Errorf("a session whose depot was changed: %d", code)
	}
	g.pass(time.Hour)
	if code := g.syncs(second); code != 401 {
		t.Errorf("a session after its life: %d", code)
	}
	if code := g.syncs(w.mustSession()); code != 200 {
		t.Errorf("a new one: %d", code)
	}
}

// TestOrigins: a proof for one centre is none for another, where they say who they
// are; and nothing of this goes over a wire in clear.
func TestOrigins(t *testing.T) {
	g := newRegistry(t, t.TempDir(), func(o *central.Options) {
		o.Config.Origins = []string{"https://Centre.example:443/"}
		o.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	w := g.gateway("nb-07", "a")
	if code := w.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), ""); code != 200 {
		t.Fatal(code)
	}
	if _, code := w.session(); code != 403 {
		t.Errorf("a proof for %s: %d", w.client.Origin(), code)
	}
	nonce, err := w.client.Nonce(t.Context(), w.id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Session(t.Context(), syncapi.NewProve(w.id, w.key, nonce.Nonce, "a", "https://centre.example")); err != nil {
		t.Errorf("a proof for one of the origins: %v", err)
	}
	for _, path := range []string{syncapi.EnrolPath, syncapi.NoncePath, syncapi.SessionPath} {
		if code, _ := g.Call("POST", path, `{"depot":"nb-07"}`, "X-Forwarded-For", "203.0.113.9"); code != 403 {
			t.Errorf("%s over http: %d", path, code)
		}
		if code, _ := g.Call("POST", path, strings.Repeat("x", 1<<20)); code != 413 {
			t.Errorf("%s with a huge body: %d", path, code)
		}
		if code, out := g.Call("POST", path, `{"depot":"nb-07","key":"secret-text"`); code != 400 || strings.Contains(out, "secret-text") {
			t.Errorf("%s with half a body: %d %s", path, code, out)
		}
	}
	if code, _ := g.Call("POST", syncapi.NoncePath, `{"depot":"nb-07"}`, "X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https"); code != 200 {
		t.Errorf("by https through the proxy: %d", code)
	}
}

// TestRevoking: whatever a revoked depot shows is refused at once, also by a centre
// whose store came back from a backup, until a new token is used; the old key does
// not come back.
func TestRevoking(t *testing.T) {
	dir := t.TempDir()
	g := newRegistry(t, dir, nil)
	w := g.gateway("nb-07", "a")
	w.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), "")
	session := w.mustSession()
	if g.syncs(session) != 200 || g.syncs(centraltest.TokenHZ) != 200 {
		t.Fatal("they cannot sync")
	}
	backup := read(t, g.File(identity.JournalName))
	g.ask("POST", "/v1/depots/nb-07/revoke", map[string]any{"reason": ""}, 400)
	g.ask("POST", "/v1/depots/nb-07/revoke", map[string]any{"reason": "stolen"}, 200)
	g.ask("POST", "/v1/depots/hz-01/revoke", map[string]any{"reason": "closed"}, 200)
	g.ask("POST", "/v1/depots/xx-99/revoke", map[string]any{"reason": "typed wrong"}, 404)
	refused := func(g *registry, w *gateway) {
		t.Helper()
		if code := g.syncs(session); code != 401 {
			t.Errorf("the session: %d", code)
		}
		if code := g.syncs(centraltest.TokenHZ); code != 403 {
			t.Errorf("the static token: %d", code)
		}
		if _, code := w.session(); code != 403 {
			t.Errorf("a new session: %d", code)
		}
	}
	refused(g, w)

	g.pass(time.Minute)
	if list := g.ask("GET", "/v1/alarms", nil, 200)["alarms"].([]any); len(list) != 0 {
		t.Errorf("what was taken out of the fleet is away: %v", list)
	}
	restored := copied(t, dir)
	write(t, filepath.Join(restored, identity.JournalName), backup)
	after := newRegistry(t, restored, nil)
	late := after.gateway("nb-07", "a")
	late.key = w.key
	refused(after, late)
	if !after.audited("depot.revoke", "nb-07", "ok") {
		t.Error("nothing tells that it was revoked again")
	}

	token := g.invite("/v1/depots/nb-07/reset", nil)
	refused(g, w) // until it is used
	replaced := g.gateway("nb-07", "b")
	if code := replaced.enrol(token, ""); code != 200 {
		t.Fatalf("enrol the new gateway: %d", code)
	}
	if g.syncs(replaced.mustSession()) != 200 {
		t.Error("the new gateway cannot sync")
	}
	if _, code := w.session(); code != 401 {
		t.Errorf("the old key: %d", code)
	}
	restored = copied(t, dir)
	write(t, filepath.Join(restored, identity.JournalName), backup)
	after = newRegistry(t, restored, nil)
	late = after.gateway("nb-07", "a")
	late.key = w.key
	if _, code := late.session(); code != 401 {
		t.Errorf("the old key after a backup was put back: %d", code)
	}
}

// TestRenewalsAreToldRarely: a depot that renews its key again and again does not drive
// the rest out of the audit log; all are counted.
func TestRenewalsAreToldRarely(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	w := g.gateway("nb-07", "a")
	w.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), "")
	session := w.mustSession()
	const renewals = 25
	before := len(g.log.String())
	for range renewals {
		next := g.gateway("nb-07", "a")
		if code := next.enrol("", session); code != 200 {
			t.Fatalf("renew: %d", code)
		}
		session = next.mustSession()
	}
	if n := strings.Count(read(t, g.File(audit.Name)), `"depot.renew"`); n == 0 || n > 6 {
		t.Errorf("%d lines in the audit log", n)
	}
	if n := strings.Count(g.log.String()[before:], "renewed its key"); n == 0 || n > 6 {
		t.Errorf("%d lines in the log", n)
	}
	if _, out := g.Admin("GET", "/metrics", ""); !strings.Contains(out, fmt.Sprintf("scanrelay_central_key_renewals_total %d\n", renewals)) {
		t.Error("they are not counted")
	}
}

// TestRenewal: the key before counts until the new one is proven.
func TestRenewal(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	w := g.gateway("nb-07", "a")
	w.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), "")
	next := g.gateway("nb-07", "a")
	if code := next.enrol("", w.mustSession()); code != 200 {
		t.Fatalf("renew: %d", code)
	}
	if code := g.syncs(w.mustSession()); code != 200 {
		t.Errorf("the key before, while the new one is not proven: %d", code)
	}
	if code := g.syncs(next.mustSession()); code != 200 {
		t.Errorf("the new one: %d", code)
	}
	if _, code := w.session(); code != 401 {
		t.Errorf("the key before, after that: %d", code)
	}
	if !g.audited("depot.renew", "nb-07", "ok") {
		t.Error("it is not audited")
	}
}

// TestRenewedSinceTheBackup: a depot that got another key after the backup that was put
// back is named, at the start and when it calls, until it is enrolled again.
func TestRenewedSinceTheBackup(t *testing.T) {
	dir := t.TempDir()
	g := newRegistry(t, dir, nil)
	for _, id := range []scan.DepotID{"nb-07", "nb-08"} {
		if code := g.gateway(id, "a").enrol(g.invite("/v1/depots", map[string]any{"id": id}), ""); code != 200 {
			t.Fatalf("enrol: %d", code)
		}
	}
	backup := read(t, g.File(identity.JournalName))
	g.pass(time.Minute)
	next := g.gateway("nb-07", "b")
	if code := next.enrol(g.invite("/v1/depots/nb-07/reset", nil), ""); code != 200 {
		t.Fatalf("enrol again: %d", code)
	}
	next.mustSession()
	restored := copied(t, dir)
	write(t, filepath.Join(restored, identity.JournalName), backup)
	after := newRegistry(t, restored, nil)
	if log := after.log.String(); !strings.Contains(log, "depots=1 first=nb-07") {
		t.Errorf("a start does not name it:\n%s", log)
	}
	alarms := func() string {
		_, all := after.Admin("GET", "/v1/alarms", "")
		_, one := after.Admin("GET", "/v1/depots/nb-07", "")
		_, page := after.Admin("GET", "/depots/nb-07?lang=en", "")
		return fmt.Sprint(strings.Count(all, "key_unknown"), strings.Count(one, "key_unknown"), strings.Contains(page, "not known here"))
	}
	if got := alarms(); got != "1 1 true" {
		t.Errorf("alarms: %s", got)
	}
	late := after.gateway("nb-07", "b")
	late.key = next.key
	for range 20 {
		if _, code := late.session(); code != 401 && code != 429 {
			t.Fatalf("a key that is not known: %d", code)
		}
	}
	if n := strings.Count(after.log.String(), "scanrelay depot reset makes a token for it\" depot=nb-07"); n < 1 || n > 10 {
		t.Errorf("%d lines when it calls", n)
	}
	if code := late.enrol(after.invite("/v1/depots/nb-07/reset", nil), ""); code != 200 {
		t.Fatalf("enrol after the restore: %d", code)
	}
	if late.mustSession(); alarms() != "0 0 false" {
		t.Errorf("alarms when it is enrolled again: %s", alarms())
	}
}

// TestAdoption: a depot of the configuration gets a key, once; its token goes on.
func TestAdoption(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	w, other := g.gateway("hz-01", "a"), g.gateway("hz-01", "b")
	if code := w.enrol("", ""); code != 401 {
		t.Errorf("without its token: %d", code)
	}
	if code := w.enrol("", centraltest.TokenSH); code != 403 {
		t.Errorf("with another depot's: %d", code)
	}
	for range 2 {
		if code := w.enrol("", centraltest.TokenHZ); code != 200 {
			t.Errorf("with its own: %d", code)
		}
	}
	if code := other.enrol("", centraltest.TokenHZ); code != 403 {
		t.Errorf("a second key: %d", code)
	}
	if g.syncs(w.mustSession()) != 200 || g.syncs(centraltest.TokenHZ) != 200 {
		t.Error("session and token do not both count")
	}
}

// TestJoinTokens: new depots of one pattern, as often as was said.
func TestJoinTokens(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	g.ask("POST", "/v1/join-tokens", map[string]any{"uses": 0, "ids": "hz-*"}, 400)
	g.ask("POST", "/v1/join-tokens", map[string]any{"uses": 1, "ids": "[hz"}, 400)
	token := g.invite("/v1/join-tokens", map[string]any{"uses": 2, "ids": "hz-*"})
	g.invite("/v1/depots", map[string]any{"id": "hz-05"})
	first := g.gateway("hz-02", "a")
	for _, c := range []struct {
		name string
		w    *gateway
		want int
	}{
		{"a new depot", first, 200}, {"the same again", first, 200}, {"its key for another", g.gateway("hz-02", "a"), 403},
		{"outside the pattern", g.gateway("sh-02", "a"), 403}, {"one of the configuration", g.gateway("hz-01", "a"), 403},
		{"one that waits for its own token", g.gateway("hz-05", "a"), 403}, {"another new depot", g.gateway("hz-03", "a"), 200},
		{"one too many", g.gateway("hz-04", "a"), 403}, {"the first again", first, 200},
	} {
		if code := c.w.enrol(token, ""); code != c.want {
			t.Errorf("%s: %d, want %d", c.name, code, c.want)
		}
	}
}

// TestClonedIdentity: a start of the agent that comes back after another one took its
// place is refused and told of; a restart is none.
func TestClonedIdentity(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	w := g.gateway("nb-07", "first start")
	w.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), "")
	w.mustSession()
	w.boot = "second start"
	w.mustSession()
	if list := g.ask("GET", "/v1/alarms", nil, 200)["alarms"].([]any); len(list) != 0 {
		t.Errorf("after a restart: %v", list)
	}
	clone := *w
	clone.boot = "the copy's start"
	live := clone.mustSession()
	if _, code := w.session(); code != 403 {
		t.Errorf("back from before: %d", code)
	}
	if code := g.syncs(live); code != 200 {
		t.Errorf("the other one: %d", code)
	}
	list := g.ask("GET", "/v1/alarms", nil, 200)["alarms"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["depot"] != "nb-07" || !strings.Contains(g.log.String(), "two machines run with one depot's identity") || !g.audited("depot.cloned", "nb-07", "refused") {
		t.Errorf("alarms %v, log %s", list, g.log.String())
	}
	if _, page := g.Admin("GET", "/?lang=zh", ""); !strings.Contains(page, "两台机器在用这个网点的身份") {
		t.Error("the fleet page does not show it")
	}
	g.pass(25 * time.Hour)
	if list := g.ask("GET", "/v1/alarms", nil, 200)["alarms"].([]any); len(list) != 1 || list[0].(map[string]any)["kind"] != "away" {
		t.Errorf("a day after it was mended: %v", list)
	}
}

// TestTokensCannotBeTried: wrong tokens and signatures are bounded for an address and
// for all together, and the right one is taken all the same.
func TestTokensCannotBeTried(t *testing.T) {
	g := newRegistry(t, t.TempDir(), func(o *central.Options) {
		o.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	w := g.gateway("nb-07", "a")
	token := g.invite("/v1/depots", map[string]any{"id": "nb-07"})
	try := func(address string) int {
		body, err := json.Marshal(syncapi.NewEnrol(w.id, w.key, "sre-wrong"))
		if err != nil {
			t.Fatal(err)
		}
		code, _ := g.Call("POST", syncapi.EnrolPath, string(body), "X-Forwarded-For", address, "X-Forwarded-Proto", "https")
		return code
	}
	for range 120 {
		if code := try("203.0.113.9"); code != 401 {
			t.Fatalf("a wrong token: %d", code)
		}
	}
	if try("203.0.113.9") != 429 || try("203.0.113.10") != 401 {
		t.Error("an address is not bounded by itself")
	}
	for i := range 3000 {
		try(fmt.Sprintf("10.%d.%d.1", i/250, i%250))
	}
	if code := try("198.51.100.1"); code != 429 {
		t.Errorf("all together: %d", code)
	}
	if code := w.enrol(token, ""); code != 200 {
		t.Errorf("the right one: %d", code)
	}
	if n := bytes.Count([]byte(read(t, g.File(audit.Name))), []byte("\n")); n > 40000 {
		t.Errorf("%d lines in the audit log", n)
	}
}

// TestEachCallHasItsRole tries every call with every role, without a credential, and
// as a depot.
func TestEachCallHasItsRole(t *testing.T) {
	tokens := map[string]string{"viewer": "token-of-a-viewer", "operator": "token-of-an-operator", "importer": "token-of-an-importer", "admin": centraltest.AdminToken}
	g := newRegistry(t, t.TempDir(), func(o *central.Options) {
		for role, token := range tokens {
			if role != "admin" {
				o.Config.Operators = append(o.Config.Operators, caller.Operator{Name: role, Token: secret.Text(token), Role: caller.Role(role)})
			}
		}
	})
	g.Import("W1")
	w := g.gateway("nb-07", "a")
	w.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), "")
	strangers := map[string]string{"nobody": "", "a session": w.mustSession().Reveal(), "a depot's token": centraltest.TokenHZ}
	for _, c := range []struct{ method, path, roles string }{
		{"GET", "/", "viewer operator admin"}, {"GET", "/metrics", "viewer operator admin"},
		{"GET", "/v1/waybills/W1", "viewer operator admin"}, {"GET", "/v1/waybills/W1?reveal=1", "operator admin"},
		{"POST", "/v1/waybills", "importer admin"},
		{"GET", "/v1/depots", "viewer operator admin"}, {"GET", "/v1/depots/hz-01", "viewer operator admin"},
		{"GET", "/v1/alarms", "viewer operator admin"}, {"GET", "/v1/audit", "admin"},
		{"POST", "/v1/depots", "admin"}, {"POST", "/v1/depots/none/revoke", "admin"}, {"POST", "/v1/depots/none/reset", "admin"},
		{"POST", "/v1/join-tokens", "admin"}, {"POST", "/v1/depots/none/deadletters", "operator admin"},
	} {
		for role, token := range tokens {
			code, _ := g.Call(c.method, c.path, "", "Authorization", "Bearer "+token)
			if may := strings.Contains(" "+c.roles+" ", " "+role+" "); may == (code == 403 || code == 401) {
				t.Errorf("%s %s as %s: %d", c.method, c.path, role, code)
			}
		}
		for name, token := range strangers {
			if code, _ := g.Call(c.method, c.path, "", "Authorization", "Bearer "+token); code != 401 {
				t.Errorf("%s %s as %s: %d", c.method, c.path, name, code)
			}
		}
		g.pass(time.Minute) // these were guesses
	}
	for role, token := range tokens {
		if code := g.syncs(secret.Text(token)); code != 401 {
			t.Errorf("a sync as %s: %d", role, code)
		}
	}
	if !g.audited("waybill.reveal", "", "ok") {
		t.Error("who looked at personal data is not audited")
	}
	if code := w.enrol("", centraltest.TokenHZ); code != 403 {
		t.Errorf("a depot's key for another depot: %d", code)
	}
}

// TestReload: credentials change whole or not at all, and both tokens count while one
// is changed.
func TestReload(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	next := centraltest.Config()
	next.AdminToken = "the next admin token"
	next.Depots = []central.Depot{{ID: "hz-01", Token: "hz-old", TokenNext: "hz-new"}}
	broken := next
	broken.Depots = []central.Depot{{ID: "hz-01", Token: "hz-old", TokenNext: "the next admin token"}}
	if err := g.Reload(t.Context(), broken); err == nil || g.syncs(centraltest.TokenHZ) != 200 {
		t.Errorf("one with a mistake: %v", err)
	}
	g.ask("GET", "/v1/depots", nil, 200)
	if err := g.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[secret.Text]int{"hz-old": 200, "hz-new": 200, centraltest.TokenHZ: 401, centraltest.TokenSH: 401} {
		if code := g.syncs(token); code != want {
			t.Errorf("token %q: %d, want %d", token.Reveal(), code, want)
		}
	}
	g.ask("GET", "/v1/depots", nil, 401)
}

// TestReloadOfTheRest: rate and landing page change; who has guessed has.
func TestReloadOfTheRest(t *testing.T) {
	g := newRegistry(t, t.TempDir(), func(o *central.Options) { o.Config.PerAddress = central.Limit{Count: 2, Per: time.Hour} })
	g.Import("W1")
	page := func() (int, string) {
		return g.Call("GET", "/jsonp/waybill?callback=f&waybill_id=W1&phone="+centraltest.Receiver, "")
	}
	page()
	next := centraltest.Config()
	next.Rate, next.PerAddress = 7, central.Limit{Count: 2, Per: time.Hour}
	next.Cells = []central.Cell{{Key: "help", Name: "帮助", Link: "pages/help"}}
	if err := g.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if code, body := page(); code != 200 || !strings.Contains(body, "pages/help") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := page(); code != 429 {
		t.Errorf("the limit began anew: %d", code)
	}
	if n := g.Metric("scanrelay_central_rate"); n != "7" {
		t.Errorf("the rate is %s", n)
	}
	next.PerAddress.Count = 100
	if err := g.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if code, _ := page(); code != 200 {
		t.Errorf("the new limit: %d", code)
	}
}

// TestReloadOfSecrets: what WeChat knows changes by a reload, and one that cannot be used
// changes nothing.
func TestReloadOfSecrets(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	checks := func(token secret.Text) int {
		stamp := fmt.Sprint(time.Now().Unix())
		code, _ := g.Call("GET", "/wechat/callback?signature="+callback.Sign(token.Reveal(), stamp, "7")+"&timestamp="+stamp+"&nonce=7&echostr=1", "")
		return code
	}
	now := centraltest.Config().Callback.Token
	next := centraltest.Config()
	next.Callback.Token, next.Callback.TokenOld = "nextToken", now
	broken := next
	broken.Callback.Token, broken.Rate = "", 7
	if err := g.Reload(t.Context(), broken); err == nil || checks("nextToken") != 403 || g.Metric("scanrelay_central_rate") == "7" {
		t.Errorf("one with a mistake: %v", err)
	}
	if err := g.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if checks("nextToken") != 200 || checks(now) != 200 {
		t.Error("while it is changed both count")
	}
	next.Callback.TokenOld = ""
	if err := g.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if checks("nextToken") != 200 || checks(now) != 403 {
		t.Error("the old one counts for ever")
	}
}

// TestIdentityOfTwoProcesses: what one process of a centre has given the other takes, and what
// one has ended the other refuses at once.
func TestIdentityOfTwoProcesses(t *testing.T) {
	var store identity.Store
	one := newRegistry(t, t.TempDir(), func(o *central.Options) { store = o.Identities })
	two := newRegistry(t, t.TempDir(), func(o *central.Options) { o.Identities = store })
	token := one.invite("/v1/depots", map[string]any{"id": "nb-07"})
	w := two.gateway("nb-07", "a")
	if code := w.enrol(token, ""); code != 200 {
		t.Fatalf("enrol at the other: %d", code)
	}
	at := one.gateway("nb-07", "a")
	at.key = w.key
	nonce, err := w.client.Nonce(t.Context(), "nb-07")
	if err != nil {
		t.Fatal(err)
	}
	proof := syncapi.NewProve("nb-07", w.key, nonce.Nonce, "a", w.client.Origin())
	s, err := at.client.Session(t.Context(), proof)
	if err != nil {
		t.Fatalf("a nonce of the other: %v", err)
	}
	if _, err := w.client.Session(t.Context(), proof); status(err) != 401 {
		t.Errorf("the proof again, at the other: %v", err)
	}
	session := secret.Text(s.Session)
	if one.syncs(session) != 200 || two.syncs(session) != 200 {
		t.Error("the session does not count at both")
	}
	two.ask("POST", "/v1/depots/nb-07/revoke", map[string]any{"reason": "stolen"}, 200)
	two.ask("POST", "/v1/depots/sh-01/revoke", map[string]any{"reason": "closed"}, 200)
	if one.syncs(session) != 401 || one.syncs(centraltest.TokenSH) != 403 {
		t.Error("what was revoked at one still counts at the other")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copied is a copy of a folder as it is now.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestOneTokenForMany: of many gateways that use one token at once one is enrolled.
func TestOneTokenForMany(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	token := g.invite("/v1/depots", map[string]any{"id": "nb-07"})
	codes := make([]int, 20)
	var all sync.WaitGroup
	for i := range codes {
		w := g.gateway("nb-07", fmt.Sprint(i))
		all.Go(func() {
			_, err := w.client.Enrol(t.Context(), syncapi.NewEnrol(w.id, w.key, token), "")
			codes[i] = status(err)
		})
	}
	all.Wait()
	slices.Sort(codes)
	if codes[0] != 200 || codes[1] != 403 || codes[len(codes)-1] != 403 {
		t.Errorf("%v", codes)
	}
}

// TestNumbersOfTheEnrolled: a centre whose configuration names no depot tells of what
// is wrong with the numbers of those that were enrolled, and goes on.
func TestNumbersOfTheEnrolled(t *testing.T) {
	g := newRegistry(t, t.TempDir(), func(o *central.Options) { o.Config.Depots = nil })
	session := func(id scan.DepotID) string {
		w := g.gateway(id, "a")
		if code := w.enrol(g.invite("/v1/depots", map[string]any{"id": id}), ""); code != 200 {
			t.Fatalf("enrol: %d", code)
		}
		return w.mustSession().Reveal()
	}
	event := func(seq uint64) syncapi.Request {
		return syncapi.Request{From: seq, Events: []syncapi.Event{centraltest.Event(seq, centraltest.Parcel, g.Now().Unix())}}
	}
	gap := event(50)
	gap.From = 1 // what lies between is lost
	g.Sync(session("nb-07"), gap)
	if resp := g.Sync(session("nb-08"), event(50)); !resp.Rewind {
		t.Errorf("a depot that is ahead: %+v", resp)
	}
	for _, line := range []string{"depot=nb-07 epoch=" + centraltest.EpochA + " from=1 to=49", "depot is ahead of this centre: asked to send again\" depot=nb-08"} {
		if !strings.Contains(g.log.String(), line) {
			t.Errorf("the log does not tell %s:\n%s", line, g.log)
		}
	}
}

// TestEnrolmentsAreToldRarely: neither a gateway that shows a used token for ever, as
// whichever depot, nor a depot that asks for key after key, drives the rest out of the
// audit log or fills the log.
func TestEnrolmentsAreToldRarely(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	token := g.invite("/v1/join-tokens", map[string]any{"uses": 1, "ids": "nb-*"})
	one := g.gateway("nb-07", "a")
	if code := one.enrol(token, ""); code != 200 {
		t.Fatalf("enrol: %d", code)
	}
	session := one.mustSession()
	static := g.gateway("hz-01", "b")
	if code := static.enrol("", centraltest.TokenHZ); code != 200 {
		t.Fatalf("adopt: %d", code)
	}
	const calls, most = 100, 10
	for name, c := range map[string]struct {
		line string
		try  func(i int) int
		want int
	}{
		"a used token": {`"depot/nb-1`, func(i int) int { return g.gateway(scan.DepotID(fmt.Sprint("nb-1", i)), "c").enrol(token, "") }, 403},
		"adoptions":    {`"depot/hz-01"`, func(int) int { return g.gateway("hz-01", "d").enrol("", centraltest.TokenHZ) }, 403},
		"renewals":     {`"depot/nb-07"`, func(int) int { return g.gateway("nb-07", "e").enrol("", session) }, 200},
	} {
		before := len(g.log.String())
		for i := range calls {
			if code := c.try(i); code != c.want {
				t.Fatalf("%s: %d", name, code)
			}
		}
		if n := strings.Count(read(t, g.File(audit.Name)), c.line); n < most || n > most+2 {
			t.Errorf("%s: %d lines in the audit log", name, n)
		}
		log := g.log.String()[before:] // in which others may write, too
		if n := strings.Count(log, "enrolment refused") + strings.Count(log, "depot enrolled"); n > most {
			t.Errorf("%s: %d lines in the log", name, n)
		}
	}
}
