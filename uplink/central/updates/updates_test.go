package updates

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/agent/update/release"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/secret"
	"scanrelay/uplink/central/caller"
	table "scanrelay/uplink/central/internal/documents"
)

var today = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// now is the clock of a test.
type now struct {
	mu sync.Mutex
	at time.Time
}

func (n *now) Now() time.Time { n.mu.Lock(); defer n.mu.Unlock(); return n.at }

func (n *now) pass(d time.Duration) { n.mu.Lock(); defer n.mu.Unlock(); n.at = n.at.Add(d) }

const phrase = secret.Text("correct horse")

// made is a repository with one release, to whose timestamp's keys the centre's own,
// in the same folder, belongs. Passphrases take long on purpose, so it is made once.
var made = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "updates"); err != nil {
		return dir, err
	}
	r := release.Repository{Dir: dir, Now: func() time.Time { return today }}
	var list []*release.Key
	for _, name := range []string{"root-1", "root-2", "root-3", "centre"} {
		k, err := release.NewOnlineKey(filepath.Join(dir, "keys."+name))
		if err != nil {
			return dir, err
		}
		keys[name], list = k, append(list, k)
	}
	online := list[3]
	err = r.Init(filepath.Join(dir, "keys"), phrase, list[:3])
	if err == nil {
		err = r.Rotate(trust.Timestamp, "", online)
	}
	if err == nil {
		err = publish(r, "1.0.0", "root-1", "root-2", "targets", "snapshot", "timestamp")
	}
	return dir, err
})

var keys = map[string]*release.Key{}

// publish adds a version and signs with these keys.
func publish(r release.Repository, version string, names ...string) error {
	elf := append([]byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00\x01\x00\x00\x00"), make([]byte, 28)...)
	elf[40] = 52
	program := filepath.Join(r.Dir, "program")
	if err := os.WriteFile(program, append(elf, strings.Repeat("program "+version, 10_000)...), 0o600); err != nil {
		return err
	}
	if _, err := r.Add(release.Release{Name: "scanrelay", Version: version, GOARM: "6"}, []string{program}); err != nil {
		return err
	}
	for _, name := range names {
		if keys[name] == nil {
			k, err := release.LoadKey(filepath.Join(r.Dir, "keys", name+".key"), phrase)
			if err != nil {
				return err
			}
			keys[name] = k
		}
		if _, err := r.Sign(keys[name]); err != nil {
			return err
		}
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := made(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// depots let each in that says a name.
func depots(r *http.Request) (scan.DepotID, caller.By, int, string) {
	if id := r.Header.Get("Depot"); id != "" {
		return scan.DepotID(id), caller.BySession, 200, ""
	}
	return "", "", http.StatusUnauthorized, "no credential"
}

// folder is a copy of the repository.
func folder(t *testing.T) release.Repository {
	t.Helper()
	template, err := made()
	r := release.Repository{Dir: filepath.Join(t.TempDir(), "r"), Now: func() time.Time { return today }}
	if err == nil {
		err = os.CopyFS(r.Dir, os.DirFS(template))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type centre struct {
	*Service
	url string
}

// serveFolder is a process of a centre.
func serveFolder(t *testing.T, dir string, docs *table.Table, clock *now, change func(*Options)) *centre {
	t.Helper()
	o := Options{Dir: dir, KeyFile: filepath.Join(dir, "keys.centre"), Table: docs, Depot: depots, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &centre{s, server.URL + "/v1/updates/"}
}

type asDepot struct{}

func (asDepot) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Depot", "hz-01")
	return http.DefaultTransport.RoundTrip(r)
}

// gateway verifies what the centre serves, as it has seen it so far.
func (c *centre) gateway(t *testing.T, seen *trust.State, at time.Time) (trust.Verified, error) {
	t.Helper()
	v, err := trust.Verify(t.Context(), trust.HTTP{URL: c.url, Client: &http.Client{Transport: asDepot{}}}, *seen, at)
	*seen = v.State
	return v, err
}

func start(t *testing.T, r release.Repository) trust.State {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(r.Dir, "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust.NewState(root, today)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A repository in which nothing changes is taken for as long as the centre signs its
// timestamp, which it does each day; what is published since is taken at once, and what a
// publisher signs goes before and after what centres have signed.
func TestTimestampIsSignedAnew(t *testing.T) {
	r, clock, docs := folder(t), &now{at: today}, table.New(nil)
	c := serveFolder(t, r.Dir, docs, clock, nil)
	seen := start(t, r)
	for day := range 90 {
		v, err := c.gateway(t, &seen, clock.Now())
		if err != nil || len(v.Targets) != 1 {
			t.Fatalf("day %d: %v, %d targets", day, err, len(v.Targets))
		}
		clock.pass(24 * time.Hour)
	}
	r.Now = clock.Now
	if err := publish(r, "1.1.0", "targets", "snapshot", "timestamp"); err != nil {
		t.Fatal(err)
	}
	if v, err := c.gateway(t, &seen, clock.Now()); err != nil || len(v.Targets) != 2 {
		t.Errorf("what was published since: %v, %d targets", err, len(v.Targets))
	}
	clock.pass(time.Hour)
	r.Now = clock.Now
	if err := publish(r, "1.2.0", "targets", "snapshot", "timestamp"); err != nil {
		t.Fatal(err)
	}
	// As from a bundle that was made now.
	v, err := trust.Verify(t.Context(), trust.Dir(r.Dir), seen, clock.Now())
	if err != nil || len(v.Targets) != 3 {
		t.Errorf("what the publisher signed after the centre: %v, %d targets", err, len(v.Targets))
	}
	if list, err := c.Releases(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("%d releases, %v", len(list), err)
	}
}

// Processes that sign at the same time agree; one whose folder is behind gives what the
// others have signed, and a start goes on where the last one was.
func TestProcessesAgree(t *testing.T) {
	r, clock, docs := folder(t), &now{at: today}, table.New(nil)
	behind := release.Repository{Dir: filepath.Join(t.TempDir(), "r")}
	if err := os.CopyFS(behind.Dir, os.DirFS(r.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := publish(r, "1.1.0", "targets", "snapshot", "timestamp"); err != nil {
		t.Fatal(err)
	}
	var list []*centre
	for range 4 {
		list = append(list, serveFolder(t, r.Dir, docs, clock, nil))
	}
	var all sync.WaitGroup
	texts := make([][]byte, len(list))
	for i, c := range list {
		all.Go(func() {
			var err error
			if texts[i], err = c.timestamp(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, text := range texts {
		if !bytes.Equal(text, texts[0]) {
			t.Error("two processes give different timestamps")
		}
	}
	late := serveFolder(t, behind.Dir, docs, clock, nil)
	if text, err := late.timestamp(t.Context()); err != nil || !bytes.Equal(text, texts[0]) {
		t.Errorf("a process whose folder is behind: %v", err)
	}
}

// TestExpiresSoon: a month before root, targets or snapshot expire it is told of, until they
// are signed anew.
func TestExpiresSoon(t *testing.T) {
	r, clock, docs := folder(t), &now{at: today}, table.New(nil)
	c := serveFolder(t, r.Dir, docs, clock, nil)
	r.Now = clock.Now
	expires := func(after time.Duration, role string) {
		t.Helper()
		clock.pass(after)
		if e := c.Expiring(t.Context()); e.Role != role || role != "" && e.At.Sub(clock.Now()) >= soon {
			t.Errorf("%s: %+v, want %q", clock.Now(), e, role)
		}
	}
	const day = 24 * time.Hour
	expires(0, "")
	expires(334*day, "")
	expires(2*day, trust.Targets)
	expires(40*day, trust.Targets) // they have expired
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		err := r.Renew(keys[role])
		if err == nil {
			_, err = r.Sign(keys[role])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	expires(30*time.Second, trust.Targets) // as it was a moment ago
	expires(time.Minute, "")
	if err := os.WriteFile(filepath.Join(r.Dir, "timestamp.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expires(335*day, "") // nobody knows: the log tells of the folder
}

// What does not verify is never signed: a folder that somebody else fills, an older one, a
// damaged one. What was signed before is served on, but not for ever.
func TestFolderThatDoesNotVerify(t *testing.T) {
	r, clock, docs := folder(t), &now{at: today}, table.New(nil)
	c := serveFolder(t, r.Dir, docs, clock, nil)
	good, err := c.timestamp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.Dir, "timestamp.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Signatures json.RawMessage `json:"signatures"`
		Signed     json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(whole, &e); err != nil {
		t.Fatal(err)
	}
	unsigned := append(append([]byte(`{"signatures":[],"signed":`), e.Signed...), '}')
	for name, content := range map[string][]byte{"nothing": {}, "no JSON": []byte("hello"), "unsigned": unsigned, "cut": whole[:len(whole)/2]} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Minute)
		if text, err := c.timestamp(t.Context()); err != nil || !bytes.Equal(text, good) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Remove(file); err != nil { // as while it is replaced
		t.Fatal(err)
	}
	clock.pass(time.Minute)
	if text, err := c.timestamp(t.Context()); err != nil || !bytes.Equal(text, good) {
		t.Errorf("without a timestamp: %v", err)
	}
	clock.pass(holds)
	if _, err := c.timestamp(t.Context()); err == nil {
		t.Error("what has expired is given")
	}
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	clock.pass(time.Minute)
	seen := start(t, r)
	if _, err := c.gateway(t, &seen, clock.Now()); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
}

// A key that the root does not name signs nothing; one under a passphrase is refused at
// the start.
func TestKeyOfTheCentre(t *testing.T) {
	r, clock := folder(t), &now{at: today}
	other := filepath.Join(t.TempDir(), "key")
	if _, err := release.NewOnlineKey(other); err != nil {
		t.Fatal(err)
	}
	c := serveFolder(t, r.Dir, table.New(nil), clock, func(o *Options) { o.KeyFile = other })
	if _, err := c.timestamp(t.Context()); !errors.Is(err, trust.ErrRefused) || !strings.Contains(err.Error(), "does the root name it") {
		t.Errorf("with another key: %v", err)
	}
	if _, err := New(Options{KeyFile: filepath.Join(r.Dir, "keys", "timestamp.key")}); err == nil || !strings.Contains(err.Error(), "--online") {
		t.Errorf("with a key under a passphrase: %v", err)
	}
}

// Depots get the files of the repository, in parts if they like, and nothing else that
// lies there.
func TestServe(t *testing.T) {
	r, clock := folder(t), &now{at: today}
	c := serveFolder(t, r.Dir, table.New(nil), clock, nil)
	if err := os.Symlink("/etc/passwd", filepath.Join(r.Dir, "targets", "out")); err != nil {
		t.Fatal(err)
	}
	targets, err := c.Releases(t.Context())
	if err != nil || len(targets) != 1 {
		t.Fatalf("%d releases, %v", len(targets), err)
	}
	get := func(name string, header ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequest("GET", c.url+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, _ := get("timestamp.json"); code != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d", code)
	}
	stored := targets[0].Stored()
	code, whole := get(stored, "Depot", "hz-01")
	if code != 200 || int64(len(whole)) != targets[0].Length {
		t.Errorf("a program: %d, %d bytes", code, len(whole))
	}
	if code, rest := get(stored, "Depot", "hz-01", "Range", "bytes=100000-"); code != 206 || rest != whole[100_000:] {
		t.Errorf("its rest: %d, %d bytes", code, len(rest))
	}
	for _, name := range []string{
		"", "keys.centre", "keys/targets.key", "staged/root.json", "program", "root.json", "0.root.json", "3.root.json", "targets", "targets/", "targets/none",
		"targets/out", "targets/../keys.centre", "targets/%2e%2e/keys.centre", "targets/.hidden", "targets//" + stored, "..%2fkeys.centre",
	} {
		if code, body := get(name, "Depot", "hz-01"); code != http.StatusNotFound {
			t.Errorf("%q: %d %.80s", name, code, body)
		}
	}
	leaves := []func(){}
	for range depotDownload {
		leave, ok := c.places.Take("hz-01")
		if !ok {
			t.Fatal("no place")
		}
		leaves = append(leaves, leave)
	}
	if code, _ := get(stored, "Depot", "hz-01"); code != http.StatusServiceUnavailable {
		t.Errorf("one download more than a depot may: %d", code)
	}
	if code, _ := get("1.root.json", "Depot", "sh-01"); code != 200 {
		t.Errorf("another depot meanwhile: %d", code)
	}
	for _, leave := range leaves {
		leave()
	}
	if code, _ := get(stored, "Depot", "hz-01"); code != 200 {
		t.Errorf("afterwards: %d", code)
	}
	for c.places.Taken() > 0 { // the server may end a moment after its answer
		time.Sleep(time.Millisecond)
	}
	for i := range maxDownloads {
		if _, ok := c.places.Take(fmt.Sprint(i)); !ok {
			t.Fatal("no place")
		}
	}
	if code, _ := get(stored, "Depot", "hz-01"); code != http.StatusServiceUnavailable {
		t.Errorf("more than all may: %d", code)
	}
}
