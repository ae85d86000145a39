package record_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/update/record"
	"scanrelay/store/durable"
)

func release(version string) record.Release {
	return record.Release{Version: version, SHA256: strings.Repeat("0a", 32), Length: 1}
}

func TestNewer(t *testing.T) {
	order := []string{
		"", "0.1.0-dev", "0.1.0-dev.2", "0.1.0-dev.10", "0.1.0-dev.a", "0.1.0-rc", "0.1.0", "0.1.1", "0.2.0", "0.10.0", "1.0.0-1", "1.0.0-a", "1.0.0", "10.0.0",
	}
	for i, a := range order {
		for j, b := range order {
			if got := record.Newer(a, b); got != (i > j) {
				t.Errorf("%q newer than %q: %v", a, b, got)
			}
		}
	}
	if record.Newer("1.0.0+b", "1.0.0+a") || record.Newer("1.0.0+a", "1.0.0") {
		t.Error("what follows a + counts")
	}
}

func TestCheck(t *testing.T) {
	for _, v := range []string{"1.2.3", "0.1.0-dev+0123abc.dirty", "1.0.0-rc.1"} {
		if err := release(v).Check(); err != nil {
			t.Error(err)
		}
	}
	for _, v := range []string{
		"", ".", "..", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3+", "1.2.3-+a", "1.2.3-a..b", "1.2.3/..", "../1.2.3", "1.2.3-a/b", "1.2.3-é", "current", "1.2.3 ",
		"1.2.3-" + strings.Repeat("a", 64), "99999999999.0.0",
	} {
		if release(v).Check() == nil {
			t.Errorf("%q is taken for a version", v)
		}
	}
	r := release("1.2.3")
	r.SHA256 = strings.ToUpper(r.SHA256)
	if r.Check() == nil {
		t.Error("a digest has two forms")
	}
}

// TestEachFileMayBeSpoilt writes each file, spoils it in many ways and reads it: what
// the package comment says comes out, and never a mixture.
func TestEachFileMayBeSpoilt(t *testing.T) {
	root, own := record.Root(t.TempDir()), record.Own(t.TempDir())
	r := release("1.2.3")
	folder := root.Folder(r)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	rec := record.Record{Committed: r, Previous: release("1.2.2"), Candidate: release("1.3.0"), Barred: []string{"x"}, Trust: []byte("t")}
	st := record.State{Trial: &record.Trial{Release: r, Tries: 2}, Ends: []record.Moment{{Boot: "b", At: 1}}}
	until := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	id, askErr := own.Ask(record.OpCommit, r)
	want := record.Wanted{Version: "1.4.0", Rollout: "r", Step: release("1.3.0"), Asked: id, Again: until}
	_, linkErr := root.Link(rec.Committed, record.PackagedFolder)
	err := errors.Join(root.WriteRelease(r.Version, r), root.Write(rec), own.SetState(st), own.Hold(until), own.SetWanted(want), askErr, linkErr)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(string(root), "record")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the agent cannot read root's record: %v, %v", info.Mode(), err)
	}
	readRecord := func() (any, error) { return root.Read() }
	readRelease := func() (any, error) { return root.Installed(r.Version) }
	readState := func() (any, error) { return own.State() }
	readHold := func() (any, error) { return own.Held() }
	readWanted := func() (any, error) { return own.Wanted() }
	readRequest := func() (any, error) {
		content, err := os.ReadFile(filepath.Join(string(own), record.RequestFile))
		if err != nil {
			return nil, err
		}
		return record.DecodeRequest(content)
	}
	for _, c := range []struct {
		path        string
		read        func() (any, error)
		whole, none any
	}{
		{filepath.Join(string(root), "record"), readRecord, rec, record.Record{Committed: r}},
		{filepath.Join(folder, "release"), readRelease, r, record.Release{}},
		{filepath.Join(string(own), "state"), readState, st, record.State{}},
		{filepath.Join(string(own), "hold"), readHold, until, time.Time{}},
		{filepath.Join(string(own), "wanted"), readWanted, want, record.Wanted{}},
		{filepath.Join(string(own), "request"), readRequest, record.Request{ID: id, Op: record.OpCommit, Release: r}, record.Request{}},
	} {
		if got, err := c.read(); err != nil || !reflect.DeepEqual(got, c.whole) {
			t.Errorf("%s is %+v, %v", c.path, got, err)
		}
		was, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		spoilt := [][]byte{nil, make([]byte, len(was)), make([]byte, 4096), []byte("garbage"), bytes.Repeat([]byte{0xff}, 1<<16), []byte("{}"), []byte("null\n")}
		for at := 0; at < len(was); at += 5 { // bytes changed, cut
			b := bytes.Clone(was)
			b[at] ^= 1
			spoilt = append(spoilt, b, was[:at])
		}
		for _, b := range spoilt {
			if err := os.WriteFile(c.path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := c.read()
			if whole := err == nil && reflect.DeepEqual(got, c.whole); whole && bytes.HasSuffix(was, b[bytes.IndexByte(b, '\n')+1:]) {
				continue // only its first line differs, which says an older version
			}
			if err == nil || !reflect.DeepEqual(got, c.none) {
				t.Fatalf("%s as %.100q is %+v, %v", c.path, b, got, err)
			}
		}
		if err := os.WriteFile(c.path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingThere: before the first update nothing is known, and nothing is wrong.
func TestNothingThere(t *testing.T) {
	root, own := record.Root(t.TempDir()), record.Own(filepath.Join(t.TempDir(), "update"))
	rec, err1 := root.Read()
	st, err2 := own.State()
	until, err3 := own.Held()
	if err := errors.Join(err1, err2, err3, own.Make(), own.Hold(time.Time{})); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(rec, record.Record{}) || !reflect.DeepEqual(st, record.State{}) || !until.IsZero() || own.Asked() {
		t.Error(rec, st, until)
	}
	if _, err := root.Installed("1.2.3"); err == nil {
		t.Error("what is not there is installed")
	}
	if to := root.Linked(); to != "" {
		t.Errorf("current leads to %q", to)
	}
}

// TestLink: it follows what is committed, whatever stood there.
func TestLink(t *testing.T) {
	root := record.Root(t.TempDir())
	for _, c := range []struct {
		r    record.Release
		want string
	}{
		{record.Release{}, "/usr/lib/scanrelay"}, {release("1.2.3"), "1.2.3"}, {release("1.2.4"), "1.2.4"},
	} {
		if mended, err := root.Link(c.r, record.PackagedFolder); !mended || err != nil || root.Linked() != c.want {
			t.Errorf("current leads to %q, want %q: %v %v", root.Linked(), c.want, mended, err)
		}
		if mended, err := root.Link(c.r, record.PackagedFolder); mended || err != nil {
			t.Error(mended, err)
		}
	}
	if durable.Exists(filepath.Join(string(root), "current.tmp")) {
		t.Error("a temporary link is left")
	}
}
