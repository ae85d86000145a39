package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/update/record"
	"scanrelay/store/durable"
)

// plain believes metadata that is a release as JSON, as if it were signed.
type plain struct{}

func (plain) Verify(_ context.Context, file string, metadata, state []byte, _ time.Time) (is record.Release, next []byte, err error) {
	if err := json.Unmarshal(metadata, &is); err != nil {
		return is, nil, errors.New("metadata without a signature")
	}
	return is, append(state, is.Version...), nil
}

// gateway is one with root's part.
type gateway struct {
	*Installer
	t *testing.T
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir := t.TempDir()
	return &gateway{&Installer{
		Root: record.Root(filepath.Join(dir, "versions")), Own: record.Own(filepath.Join(dir, "update")),
		Packaged: "0.9.0", PackagedFolder: "/usr/lib/scanrelay", Verifier: plain{}, Log: slog.New(slog.DiscardHandler),
	}, t}
}

func release(version, body string) record.Release {
	sum := sha256.Sum256([]byte(body))
	return record.Release{Version: version, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(body))}
}

func program(version string) string { return "program " + version }

func rel(version string) record.Release { return release(version, program(version)) }

// run has root do what is asked for, and returns the reason of a refusal.
func (g *gateway) run() string {
	g.t.Helper()
	if err := g.Run(g.t.Context()); err != nil {
		return "error: " + err.Error()
	}
	if g.Own.Asked() {
		g.t.Error("the request is still there")
	}
	for _, name := range []string{record.Target, record.Metadata} {
		if durable.Exists(filepath.Join(string(g.Own), record.StagedFolder, name)) {
			g.t.Errorf("%s is still staged", name)
		}
	}
	return g.record().Answer.Reason
}

func (g *gateway) record() record.Record {
	g.t.Helper()
	rec, err := g.Root.Read()
	if err != nil {
		g.t.Error(err)
	}
	return rec
}

func (g *gateway) stage(metadata any, body string) string {
	g.t.Helper()
	m, err := json.Marshal(metadata)
	id, err2 := Stage(g.Own, m, time.Time{}, func(path string) error { return os.WriteFile(path, []byte(body), 0o600) })
	if err := errors.Join(err, err2); err != nil {
		g.t.Fatal(err)
	}
	return id
}

func (g *gateway) ask(op string, r record.Release) string {
	g.t.Helper()
	if _, err := g.Own.Ask(op, r); err != nil {
		g.t.Fatal(err)
	}
	return g.run()
}

// must goes through an update to a version.
func (g *gateway) must(version string) {
	g.t.Helper()
	g.stage(rel(version), program(version))
	if why := g.run() + g.ask(record.OpCommit, rel(version)); why != "" {
		g.t.Fatal(why)
	}
}

func (g *gateway) there() (names []string) {
	g.t.Helper()
	entries, err := os.ReadDir(string(g.Root))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestUpdate goes the way of three versions: installed, committed, the third bad.
func TestUpdate(t *testing.T) {
	g := newGateway(t)
	if why := g.run(); why != "" || g.Root.Linked() != "/usr/lib/scanrelay" {
		t.Errorf("before the first: %s, current leads to %q", why, g.Root.Linked())
	}
	id := g.stage(rel("1.0.0"), program("1.0.0"))
	if why := g.run(); why != "" {
		t.Fatal(why)
	}
	if err := Await(t.Context(), g.Root, id); err != nil {
		t.Error(err)
	}
	if rec := g.record(); rec.Candidate != rel("1.0.0") || !rec.Committed.IsPackaged() || string(rec.Trust) != "1.0.0" || g.Root.Linked() != "/usr/lib/scanrelay" {
		t.Errorf("installed: %+v, current leads to %q", rec, g.Root.Linked())
	}
	info, err := os.Stat(g.Root.Binary(rel("1.0.0")))
	if is, bad := g.Root.Installed("1.0.0"); err != nil || info.Mode().Perm() != 0o755 || bad != nil || is != rel("1.0.0") {
		t.Errorf("it lies there as %v, %v, %v, %v", info, err, is, bad)
	}
	if why := g.ask(record.OpCommit, rel("1.0.0")); why != "" || g.Root.Linked() != "1.0.0" {
		t.Errorf("committed: %s, current leads to %q", why, g.Root.Linked())
	}
	g.must("1.1.0")
	g.stage(rel("1.2.0"), program("1.2.0"))
	if why := g.run(); why != "" {
		t.Fatal(why)
	}
	if got := g.there(); !slices.Equal(got, []string{"1.0.0", "1.1.0", "1.2.0", "current", "record"}) {
		t.Errorf("there is %v", got)
	}
	if why := g.ask(record.OpBar, rel("1.2.0")); why != "" || !g.record().Candidate.IsPackaged() {
		t.Errorf("barred: %s, %+v", why, g.record())
	}
	g.stage(rel("1.2.0"), program("1.2.0"))
	if why := g.run(); !strings.Contains(why, "never taken again") {
		t.Errorf("once more: %s", why)
	}
	g.must("1.3.0")
	if got := g.there(); !slices.Equal(got, []string{"1.1.0", "1.3.0", "current", "record"}) {
		t.Errorf("there is %v", got)
	}
	if why := g.ask(record.OpBack, rel("1.3.0")); why != "" || g.record().Committed != rel("1.1.0") || g.Root.Linked() != "1.1.0" {
		t.Errorf("back: %s, %+v", why, g.record())
	}
	if why := g.ask(record.OpBack, rel("1.3.0")); why != "" || g.record().Committed != rel("1.1.0") {
		t.Errorf("back once more: %s, %+v", why, g.record())
	}
	if why := g.ask(record.OpBack, rel("1.1.0")); why != "" || !g.record().Committed.IsPackaged() || g.Root.Linked() != "/usr/lib/scanrelay" {
		t.Errorf("back to the package: %s, %+v", why, g.record())
	}
}

// TestRefused: nothing but the answer changes.
func TestRefused(t *testing.T) {
	g := newGateway(t)
	g.must("1.0.0")
	g.must("1.1.0")
	was := g.record()
	other := release("1.0.0", "another 1.0.0")
	long := rel("1.2.0")
	long.Length++
	for name, c := range map[string]struct {
		metadata any
		body     string
		packaged string
		want     string
	}{
		"without a signature":          {"x", "x", "0.9.0", "without a signature"},
		"another file":                 {rel("1.2.0"), "x", "0.9.0", "not what was verified"},
		"another length":               {long, program("1.2.0"), "0.9.0", "not what was verified"},
		"older":                        {rel("1.0.1"), program("1.0.1"), "0.9.0", "not newer than 1.1.0"},
		"older than the package":       {rel("1.2.0"), program("1.2.0"), "1.3.0", "not newer than 1.3.0"},
		"the same":                     {rel("1.1.0"), program("1.1.0"), "0.9.0", "installed already"},
		"the one before":               {rel("1.0.0"), program("1.0.0"), "0.9.0", "installed already"},
		"of the same name, older":      {other, "another 1.0.0", "0.9.0", "not newer than 1.1.0"},
		"of a name that is a way out":  {release("../1.2.0", "x"), "x", "0.9.0", "not one like"},
		"of the name of another thing": {release("record", "x"), "x", "0.9.0", "not one like"},
	} {
		g.Packaged = c.packaged
		g.stage(c.metadata, c.body)
		if why := g.run(); !strings.Contains(why, c.want) {
			t.Errorf("%s: %q, want %q", name, why, c.want)
		}
		now := g.record()
		now.Answer = was.Answer
		if !reflect.DeepEqual(now, was) {
			t.Errorf("%s: the record was %+v, is %+v", name, was, now)
		}
	}
	for name, c := range map[string]struct {
		op   string
		r    record.Release
		want string
	}{
		"commit what is not there":   {record.OpCommit, rel("1.2.0"), "the candidate is"},
		"commit the packaged one":    {record.OpCommit, record.Release{}, "the candidate is"},
		"back from the package":      {record.OpBack, record.Release{}, "package manager"},
		"what nobody knows":          {"explode", rel("1.1.0"), "no such request"},
		"install what nobody staged": {record.OpInstall, rel("1.1.0"), "no such file"},
	} {
		g.Packaged = "0.9.0"
		if why := g.ask(c.op, c.r); !strings.Contains(why, c.want) {
			t.Errorf("%s: %q, want %q", name, why, c.want)
		}
	}
	if got := g.there(); !slices.Equal(got, []string{"1.0.0", "1.1.0", "current", "record"}) {
		t.Errorf("there is %v", got)
	}
	if err := Await(canceled(t), g.Root, "nobody's"); err == nil {
		t.Error("an answer came to what was not asked")
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestPackageIsNewer: what is committed over a newer package has the package before it.
func TestPackageIsNewer(t *testing.T) {
	g := newGateway(t)
	g.must("1.0.0")
	g.Packaged = "1.1.0"
	if why := g.run(); why != "" || g.Root.Linked() != "/usr/lib/scanrelay" {
		t.Errorf("%s, current leads to %s", why, g.Root.Linked())
	}
	g.must("1.2.0")
	if rec := g.record(); !rec.Previous.IsPackaged() || rec.Committed != rel("1.2.0") {
		t.Errorf("%+v", rec)
	}
	if got := g.there(); !slices.Equal(got, []string{"1.2.0", "current", "record"}) {
		t.Errorf("there is %v", got)
	}
}

// TestDamagedIsMended: a committed version that was damaged on disk is put back by the
// same release.
func TestDamagedIsMended(t *testing.T) {
	g := newGateway(t)
	g.must("1.0.0")
	if err := os.WriteFile(g.Root.Binary(rel("1.0.0")), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	g.stage(rel("1.0.0"), program("1.0.0"))
	if why := g.run(); why != "" {
		t.Error(why)
	}
	if body, err := os.ReadFile(g.Root.Binary(rel("1.0.0"))); err != nil || string(body) != program("1.0.0") || !g.record().Candidate.IsPackaged() {
		t.Errorf("it is %q, %v, %+v", body, err, g.record())
	}
}

// TestHostileFolder: the agent's user does what it can to have root read, keep or wait
// for what is not its own.
func TestHostileFolder(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "shadow")
	body, err := json.Marshal(rel("1.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, body, 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	for name, c := range map[string]struct {
		do   func(own, staged string) error
		want string
	}{
		"the target is a link": {func(_, s string) error { return errors.Join(os.Remove(s+"/target"), os.Symlink(secret, s+"/target")) }, "symbolic link"},
		"the metadata is a link": {func(_, s string) error {
			return errors.Join(os.Remove(s+"/metadata"), os.Symlink(secret, s+"/metadata"))
		}, "symbolic link"},
		"the folder is a link": {func(_, s string) error {
			return errors.Join(os.Rename(s, elsewhere+"/staged"), os.Symlink(elsewhere+"/staged", s))
		}, "not a directory"},
		"the target is a pipe": {func(_, s string) error {
			return errors.Join(os.Remove(s+"/target"), syscall.Mkfifo(s+"/target", 0o666))
		}, "is no file"},
		"the target is a folder":  {func(_, s string) error { return errors.Join(os.Remove(s+"/target"), os.Mkdir(s+"/target", 0o777)) }, "is no file"},
		"the metadata is endless": {func(_, s string) error { return os.Truncate(s+"/metadata", maxMetadata+1) }, "more than"},
		"the target is endless":   {func(_, s string) error { return os.Truncate(s+"/target", maxTarget+1) }, "more than"},
		"the request is a pipe": {func(o, _ string) error {
			return errors.Join(os.Remove(o+"/request"), syscall.Mkfifo(o+"/request", 0o666))
		}, ""},
		"the request is a link":  {func(o, _ string) error { return errors.Join(os.Remove(o+"/request"), os.Symlink(secret, o+"/request")) }, ""},
		"the request is endless": {func(o, _ string) error { return os.Truncate(o+"/request", 1<<30) }, ""},
		"the request is empty":   {func(o, _ string) error { return os.Truncate(o+"/request", 0) }, ""},
		"the request is NULs":    {func(o, _ string) error { return os.WriteFile(o+"/request", make([]byte, 300), 0o600) }, ""},
		"another request meanwhile": {func(o, _ string) error {
			_, err := record.Own(o).Ask("commit", record.Release{Version: "../.."})
			return err
		}, "the candidate is"},
	} {
		g := newGateway(t)
		g.stage(rel("1.0.0"), program("1.0.0"))
		if err := c.do(string(g.Own), filepath.Join(string(g.Own), record.StagedFolder)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := g.Run(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rec := g.record()
		if got := rec.Answer.Reason; c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: it answers %q, want %q", name, got, c.want)
		}
		if !rec.Candidate.IsPackaged() || g.Own.Asked() || durable.Exists(g.Root.Folder(rel("1.0.0"))) || durable.Exists(filepath.Join(string(g.Root), incoming)) {
			t.Errorf("%s: afterwards there is %v, %+v", name, g.there(), rec)
		}
	}
	if now, err := os.ReadFile(secret); err != nil || !bytes.Equal(now, body) {
		t.Errorf("a file of root's is %q, %v", now, err)
	}
	g := newGateway(t) // its own folder is another's
	if err := errors.Join(os.MkdirAll(elsewhere, 0o700), os.Symlink(elsewhere, string(g.Own))); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil {
		t.Error("a link that is the agent's folder is followed")
	}
}

// TestRoom: a version is copied only where two and a half times its size is free.
func TestRoom(t *testing.T) {
	g := newGateway(t)
	size := int64(len(program("1.0.0")))
	for free, want := range map[int64]string{size*5/2 - 1: "bytes are free", size * 5 / 2: ""} {
		g.Free = func(string) int64 { return free }
		g.stage(rel("1.0.0"), program("1.0.0"))
		if why := g.run(); (want == "") != (why == "") || !strings.Contains(why, want) {
			t.Errorf("with %d bytes for %d: %q", free, size, why)
		}
	}
}

// TestStageAgain: what is half staged when another version comes is gone, and a request
// that root has not taken does not meet it.
func TestStageAgain(t *testing.T) {
	g := newGateway(t)
	g.stage(rel("1.0.0"), program("1.0.0"))
	if _, err := Stage(g.Own, nil, time.Time{}, func(string) error { return errors.New("the line fell") }); err == nil || g.Own.Asked() {
		t.Errorf("%v, asked: %v", err, g.Own.Asked())
	}
	g.stage(rel("1.1.0"), program("1.1.0"))
	if why := g.run(); why != "" || g.record().Candidate != rel("1.1.0") {
		t.Errorf("%s, %+v", why, g.record())
	}
}

// TestRecordIsLost: root's record is garbage; what current leads to stays committed, and
// nothing is removed.
func TestRecordIsLost(t *testing.T) {
	g := newGateway(t)
	g.must("1.0.0")
	g.must("1.1.0")
	if err := os.WriteFile(filepath.Join(string(g.Root), "record"), make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	g.stage(rel("1.2.0"), program("1.2.0"))
	if why := g.run(); why != "" {
		t.Error(why)
	}
	if rec := g.record(); rec.Committed != rel("1.1.0") || rec.Candidate != rel("1.2.0") {
		t.Errorf("%+v", rec)
	}
	if got := g.there(); !slices.Equal(got, []string{"1.0.0", "1.1.0", "1.2.0", "current", "record"}) {
		t.Errorf("there is %v", got)
	}
}

// TestBarredIsBounded: the oldest makes way.
func TestBarredIsBounded(t *testing.T) {
	var rec record.Record
	var err error
	for n := range maxBarred + 10 {
		rec.Candidate = release("1.0.0", fmt.Sprint(n))
		if rec, err = back(rec, rec.Candidate, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(rec.Barred); n != maxBarred || rec.Barred[0] != release("", "10").SHA256 || rec.Barred[n-1] != release("", fmt.Sprint(maxBarred+9)).SHA256 {
		t.Errorf("%d are barred, from %s on", n, rec.Barred[0])
	}
}
