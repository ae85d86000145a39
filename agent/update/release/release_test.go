package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/update/trust"
	"scanrelay/configs/secret"
)

// today is when the tests publish.
var today = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const phrase = secret.Text("correct horse")

// program is the smallest file that says what it is for, and something more.
func program(m elf.Machine, class elf.Class, more string) []byte {
	var b bytes.Buffer
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(class), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	if class == elf.ELFCLASS32 {
		_ = binary.Write(&b, binary.LittleEndian, elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(m), Version: 1, Ehsize: 52})
	} else {
		_ = binary.Write(&b, binary.LittleEndian, elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(m), Version: 1, Ehsize: 64})
	}
	b.WriteString(more)
	return b.Bytes()
}

func arm(more string) []byte   { return program(elf.EM_ARM, elf.ELFCLASS32, more) }
func arm64(more string) []byte { return program(elf.EM_AARCH64, elf.ELFCLASS64, more) }

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// made is a repository with its keys below it. Passphrases take long on purpose, so it is
// made once.
var made = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "release"); err != nil {
		return dir, err
	}
	return dir, Repository{Dir: dir, Now: func() time.Time { return today }}.Init(filepath.Join(dir, "keys"), phrase, nil)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := made(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// newRepository has been made, and nothing added.
func newRepository(t *testing.T) (Repository, string) {
	t.Helper()
	template, err := made()
	r := Repository{Dir: filepath.Join(t.TempDir(), "r"), Now: func() time.Time { return today }}
	if err == nil {
		err = os.CopyFS(r.Dir, os.DirFS(template))
	}
	keys := filepath.Join(t.TempDir(), "keys")
	if err == nil {
		err = os.Rename(r.path("keys"), keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, keys
}

// opened are keys by what is in their files.
var opened = map[string]*Key{}

func open(t *testing.T, path string) *Key {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if k := opened[string(text)]; k != nil {
		return k
	}
	k, err := LoadKey(path, phrase)
	if err != nil {
		t.Fatal(err)
	}
	opened[string(text)] = k
	return k
}

func (r Repository) mustSign(t *testing.T, keys string, names ...string) (did []string) {
	t.Helper()
	for _, name := range names {
		steps, err := r.Sign(open(t, filepath.Join(keys, name+".key")))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			word := "signed"
			if s.Published {
				word = "published"
			}
			did = append(did, fmt.Sprintf("%s %s %d", word, s.Role, s.Version))
		}
	}
	return did
}

func mustAdd(t *testing.T, r Repository, version string, files ...string) {
	t.Helper()
	if _, err := r.Add(Release{Name: "scanrelay", Version: version, GOARM: "6"}, files); err != nil {
		t.Fatal(err)
	}
}

// TestStepByStep: each key signs where it is, and gateways see a release only after the
// last of them did.
func TestStepByStep(t *testing.T) {
	r, keys := newRepository(t)
	sees := func(want int) {
		t.Helper()
		if v, err := r.Verify(t.Context()); err != nil || len(v.Targets) != want {
			t.Fatalf("gateways see %d targets (%v), want %d", len(v.Targets), err, want)
		}
	}
	sees(0)
	mustAdd(t, r, "1.0.0", file(t, "a", arm("one")), file(t, "b", arm64("one")))
	mustAdd(t, r, "1.1.0", file(t, "a", arm("two"))) // into what is staged
	for _, step := range []struct{ key, did, missing string }{
		{"root-1", "", "targets 2 needs 1"},
		{"snapshot", "", "targets 2 needs 1"},
		{"targets", "signed targets 2, published targets 2", "snapshot 2 needs 1"},
		{"targets", "", "snapshot 2 needs 1"},
		{"snapshot", "signed snapshot 2, published snapshot 2", fmt.Sprintf("timestamp %d needs 1", today.Unix()+1)},
	} {
		sees(0)
		if got := strings.Join(r.mustSign(t, keys, step.key), ", "); got != step.did {
			t.Errorf("%s did: %s", step.key, got)
		}
		lacks, err := r.Missing()
		if err != nil || len(lacks) != 1 || fmt.Sprintf("%s %d needs %d", lacks[0].Role, lacks[0].Version, lacks[0].Need) != step.missing {
			t.Errorf("after %s: %+v, %v", step.key, lacks, err)
		}
	}
	r.mustSign(t, keys, "timestamp")
	sees(3)
	if lacks, err := r.Missing(); len(lacks) > 0 || err != nil {
		t.Error(lacks, err)
	}
}

// TestInterrupted: whatever a step wrote last, it is done again, and gateways see a whole
// repository all the while.
func TestInterrupted(t *testing.T) {
	r, keys := newRepository(t)
	mustAdd(t, r, "1.0.0", file(t, "a", arm("one")))
	r.mustSign(t, keys, "targets", "snapshot")
	if err := os.Remove(r.staged(trust.Timestamp)); err != nil { // as if it ended before it staged that
		t.Fatal(err)
	}
	if v, err := r.Verify(t.Context()); err != nil || len(v.Targets) != 0 {
		t.Fatal(v, err)
	}
	r.mustSign(t, keys, "timestamp")
	if v, err := r.Verify(t.Context()); err != nil || len(v.Targets) != 1 {
		t.Fatal(v, err)
	}
}

// TestCeremony: root keys are made elsewhere, and two of the three sign elsewhere.
func TestCeremony(t *testing.T) {
	far := t.TempDir()
	var public []*Key
	for n := 1; n <= RootKeys; n++ {
		path := filepath.Join(far, fmt.Sprintf("root-%d.key", n))
		k, err := NewKey(path, phrase)
		if err == nil {
			err = k.WritePublic(path + ".pub")
		}
		if err == nil {
			k, err = LoadKey(path+".pub", phrase)
		}
		if err != nil {
			t.Fatal(err)
		}
		public = append(public, k)
	}
	r := Repository{Dir: t.TempDir(), Now: func() time.Time { return today }}
	keys := t.TempDir()
	if err := r.Init(keys, phrase, public); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Sign(public[0]); err == nil || !strings.Contains(err.Error(), "private half") {
		t.Error(err)
	}
	if _, err := r.Verify(t.Context()); err == nil {
		t.Error("there is a root before it was signed")
	}
	if lacks, err := r.Missing(); err != nil || len(lacks) != 2 || lacks[0].Need != 2 || len(lacks[0].From) != 3 {
		t.Error(lacks, err)
	}
	r.mustSign(t, far, "root-3", "root-1")
	r.mustSign(t, keys, "targets", "snapshot", "timestamp")
	if _, err := r.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRotate: keys that were lost or stolen are replaced, and a gateway that knows only
// the first root comes along.
func TestRotate(t *testing.T) {
	r, keys := newRepository(t)
	mustAdd(t, r, "1.0.0", file(t, "a", arm("one")))
	r.mustSign(t, keys, "targets", "snapshot", "timestamp")
	for n, role := range []string{trust.Targets, trust.Snapshot, trust.Timestamp, trust.Root} {
		name := role
		if role == trust.Root {
			name = "root-3"
		}
		old, err := LoadKey(filepath.Join(keys, name+".key"), "")
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := NewKey(filepath.Join(keys, name+"-new.key"), phrase)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Rotate(role, old.ID, fresh); err != nil {
			t.Fatal(err)
		}
		r.mustSign(t, keys, "root-1", "root-2", "targets-new")
		for _, each := range []string{"snapshot", "timestamp"} {
			if _, err := os.Stat(filepath.Join(keys, each+"-new.key")); err == nil {
				each += "-new"
			}
			r.mustSign(t, keys, each)
		}
		v, err := r.Verify(t.Context())
		if err != nil || len(v.Targets) != 1 {
			t.Fatalf("%s: %v, %v", role, v.Targets, err)
		}
		if lacks, err := r.Missing(); len(lacks) > 0 || err != nil {
			t.Errorf("%s: %+v, %v", role, lacks, err)
		}
		if newest, err := r.newest(trust.Root); err != nil || newest != int64(n+2) {
			t.Errorf("%s: root %d, %v", role, newest, err)
		}
	}
	if err := r.Rotate(trust.Timestamp, "none", nil); err == nil {
		t.Error("a key that is none was taken out")
	}
	k, err := LoadKey(filepath.Join(keys, "timestamp-new.key"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Rotate(trust.Timestamp, k.ID, nil); err == nil || !strings.Contains(err.Error(), "would have 0 keys") {
		t.Error(err)
	}
}

// TestRenew: what would expire is signed anew, by the key alone that signs for it.
func TestRenew(t *testing.T) {
	r, keys := newRepository(t)
	later := r
	later.Now = func() time.Time { return today.Add(29 * 24 * time.Hour) }
	k := open(t, filepath.Join(keys, "timestamp.key"))
	if err := later.Renew(k); err != nil {
		t.Fatal(err)
	}
	later.mustSign(t, keys, "timestamp")
	later.Now = func() time.Time { return today.Add(31 * 24 * time.Hour) }
	if _, err := later.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	base, err := os.ReadFile(later.path("timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	content, version, err := Resign(base, k, 1<<40, later.now(), lifetimes[trust.Timestamp]) // as the centre does
	if version != 1<<40+1 {
		t.Errorf("its version is %d", version)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := later.write(later.path("timestamp.json"), content); err != nil {
		t.Fatal(err)
	}
	later.Now = func() time.Time { return today.Add(60 * 24 * time.Hour) }
	if _, err := later.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	later.Now = func() time.Time { return today.Add(62 * 24 * time.Hour) }
	if _, err := later.Verify(t.Context()); !errors.Is(err, trust.ErrExpired) {
		t.Error(err)
	}
}

func TestAddRefuses(t *testing.T) {
	r, keys := newRepository(t)
	mustAdd(t, r, "1.0.0", file(t, "a", arm("one")))
	r.mustSign(t, keys, "targets", "snapshot", "timestamp")
	rel := Release{Name: "scanrelay", Version: "1.0.0", GOARM: "6"}
	for name, c := range map[string]struct {
		change  func(*Release)
		content []byte
		want    string
	}{
		"another program of the version": {nil, arm("other"), "take a new version"},
		"no program":                     {nil, []byte("#!/bin/sh"), "no program (ELF)"},
		"nothing":                        {nil, nil, "no program (ELF)"},
		"half a header":                  {nil, arm("")[:30], "read ELF header"},
		"another processor":              {nil, program(elf.EM_MIPS, elf.ELFCLASS32, ""), "no gateway is"},
		"another class":                  {nil, program(elf.EM_ARM, elf.ELFCLASS64, ""), "no gateway is"},
		"no GOARM":                       {func(r *Release) { r.GOARM = "" }, arm("one"), "for which GOARM"},
		"a version that is none":         {func(r *Release) { r.Version = "v2" }, arm("one"), "must be as 1.2.3"},
		"min_from ahead":                 {func(r *Release) { r.MinFrom = "1.0.0" }, arm("one"), "not an older one"},
		"an empty package":               {nil, []byte(debMagic), "has no data"},
		"a damaged package":              {nil, []byte(debMagic + strings.Repeat("x", 60)), "the package is damaged"},
	} {
		with := rel
		if c.change != nil {
			c.change(&with)
		}
		if _, err := r.Add(with, []string{file(t, "f", c.content)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Add(rel, []string{file(t, "a", arm("one")), file(t, "b", arm("one"))}); err == nil {
		t.Error("two programs for one machine")
	}
	mustAdd(t, r, "1.0.0", file(t, "a", arm("one"))) // the same once more is nothing wrong
}

// packed is a .tar.gz with a program beside other files.
func packed(content []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, body := range map[string][]byte{
		"./usr/lib/scanrelay/scanrelay": content, "./usr/share/bash-completion/completions/scanrelay": []byte("complete"), "./etc/x": nil,
	} {
		_ = w.WriteHeader(&tar.Header{Name: name, Size: int64(len(body)), Mode: 0o755, Typeflag: tar.TypeReg})
		_, _ = w.Write(body)
	}
	_, _ = w.Close(), z.Close()
	return b.Bytes()
}

func debian(data []byte) []byte {
	var b bytes.Buffer
	b.WriteString(debMagic)
	for _, m := range []struct {
		name string
		body []byte
	}{{"debian-binary", []byte("2.0\n!")}, {"data.tar.gz", data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.body))
		b.Write(m.body)
		if len(m.body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func TestProgram(t *testing.T) {
	want := arm64("the program")
	for name, content := range map[string][]byte{"itself": want, "archive": packed(want), "package": debian(packed(want))} {
		got, err := Program(file(t, "f", content), "scanrelay")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := Program(file(t, "f", packed([]byte("script"))), "scanrelay"); err == nil || !strings.Contains(err.Error(), "no program of the name") {
		t.Error(err)
	}
}

// FuzzProgram: packages come from wherever they were built.
func FuzzProgram(f *testing.F) {
	f.Add(arm("x"))
	f.Add(packed(arm64("x")))
	f.Add(debian(packed(arm64("x"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		content, err := Program(file(t, "f", data), "scanrelay")
		if err != nil {
			return
		}
		if c, err := Machine(content, "7"); err == nil && (c.OS != "linux" || c.Arch == "") {
			t.Errorf("%+v", c)
		}
	})
}

// TestMachineOfGo reads GOARM from what Go's linker wrote.
func TestMachineOfGo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Machine(content, ""); runtime.GOOS == "linux" && (err != nil || c.Arch != runtime.GOARCH) {
		t.Errorf("this test is for %+v, %v", c, err)
	}
	if testing.Short() {
		return // what follows compiles Go's runtime for another processor
	}
	out := filepath.Join(t.TempDir(), "hello")
	cmd := exec.Command("go", "build", "-o", out, file(t, "hello.go", []byte("package main\nfunc main() {}\n")))
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm", "GOARM=6", "CGO_ENABLED=0", "GO111MODULE=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if content, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	if c, err := Machine(content, ""); err != nil || c.Path() != "linux-arm-6" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestDamaged: verify tells what a bad disk did to a repository.
func TestDamaged(t *testing.T) {
	r, keys := newRepository(t)
	mustAdd(t, r, "1.0.0", file(t, "a", arm("one")))
	r.mustSign(t, keys, "targets", "snapshot", "timestamp")
	var names []string
	err := filepath.WalkDir(r.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "root.json" && !strings.HasPrefix(d.Name(), "1.s") && !strings.HasPrefix(d.Name(), "1.t") {
			names = append(names, path)
		}
		return err
	})
	if err != nil || len(names) != 5 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for what, damaged := range map[string][]byte{"NULs": make([]byte, len(whole)), "half": whole[:len(whole)/2], "nothing": nil} {
			if err := os.WriteFile(name, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Verify(t.Context()); err == nil {
				t.Errorf("%s of %s goes unnoticed", what, filepath.Base(name))
			}
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBundle(t *testing.T) {
	r, keys := newRepository(t)
	mustAdd(t, r, "1.0.0", file(t, "a", arm("one")), file(t, "b", arm64("one")))
	r.mustSign(t, keys, "targets", "snapshot", "timestamp")
	to := filepath.Join(t.TempDir(), "stick")
	if _, err := r.Bundle(t.Context(), "scanrelay", "1.0.0", "linux/arm/7", to); err == nil {
		t.Error("a bundle for a machine for which nothing was built")
	}
	target, err := r.Bundle(t.Context(), "scanrelay", "1.0.0", "linux/arm/6", to)
	if err != nil {
		t.Fatal(err)
	}
	b, err := trust.OpenBundle(to)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	first, err := os.ReadFile(r.path("root.json"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := trust.NewState(first, today)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Verify(t.Context(), b, state, time.Time{}); err != nil {
		t.Error(err)
	}
	got := filepath.Join(t.TempDir(), "program")
	if err := trust.Fetch(t.Context(), b, target, got, trust.Options{}); err != nil {
		t.Error(err)
	}
	first, _ = os.ReadFile(to)
	if _, err := r.Bundle(t.Context(), "scanrelay", "1.0.0", "linux/arm/6", to); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(to); !bytes.Equal(first, again) {
		t.Error("the same bundle has other bytes")
	}
}

// TestDelta: what add makes of two versions a gateway can use.
func TestDelta(t *testing.T) {
	r, keys := newRepository(t)
	body := strings.Repeat("the same in both, ", 5000)
	old, next := arm64("one"+body), arm64("two"+body)
	rel := Release{Name: "scanrelay", Version: "1.1.0", From: []string{"1.0.0"}}
	if _, err := r.Add(rel, []string{file(t, "b", next)}); err == nil || !strings.Contains(err.Error(), "there is no scanrelay/1.0.0/linux-arm64") {
		t.Error(err)
	}
	mustAdd(t, r, "1.0.0", file(t, "a", old))
	for range 2 { // once more is nothing wrong
		list, err := r.Add(rel, []string{file(t, "b", next)})
		if err != nil || len(list) != 2 || list[1].Path != "scanrelay/1.1.0/linux-arm64.from-1.0.0" || list[1].Length > 1000 {
			t.Fatal(list, err)
		}
	}
	r.mustSign(t, keys, "targets", "snapshot", "timestamp")
	v, err := r.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target, err := v.Choose("scanrelay", "linux", "arm64", "", "1.0.0", "")
	if err != nil || len(target.Deltas) != 1 {
		t.Fatal(target, err)
	}
	if err := os.Remove(r.path(target.Stored())); err != nil { // only the delta is left
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "program")
	if err := trust.Fetch(t.Context(), trust.Dir(r.Dir), target, to, trust.Options{Base: file(t, "a", old)}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, next) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := deltaOf(make([]byte, trust.MaxProgram+1), next); err == nil {
		t.Error("a program that is too large")
	}
}

// TestKeys: a key opens with its passphrase alone, and shows nothing of it.
func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.key")
	k, err := NewKey(path, phrase)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte(fmt.Sprintf("%x", k.seed))) {
		t.Error("the private half is readable")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if _, err := LoadKey(path, "wrong"); err == nil || !strings.Contains(err.Error(), "does not open") || strings.Contains(err.Error(), "wrong") {
		t.Error(err)
	}
	if again, err := LoadKey(path, phrase); err != nil || again.ID != k.ID || !bytes.Equal(again.seed, k.seed) {
		t.Error(err)
	}
	if _, err := NewKey(path, phrase); err == nil {
		t.Error("a key was written over")
	}
	if _, err := NewKey(path+"2", ""); err == nil {
		t.Error("a key without a passphrase")
	}
	for name, content := range map[string][]byte{"nothing": nil, "NULs": make([]byte, 100), "JSON": []byte("{}"), "half": text[:len(text)/2], "no key": []byte(`{"public":{"keytype":"ed25519"}}`)} {
		if _, err := LoadKey(file(t, "k", content), phrase); err == nil {
			t.Errorf("%s is read as a key", name)
		}
	}
}

func TestInitOnce(t *testing.T) {
	r, keys := newRepository(t)
	if err := r.Init(keys, phrase, nil); err == nil || !strings.Contains(err.Error(), "already") {
		t.Error(err)
	}
	if err := (Repository{Dir: t.TempDir()}).Init(t.TempDir(), phrase, make([]*Key, 1)); err == nil {
		t.Error("one root key was enough")
	}
	if _, err := (Repository{Dir: t.TempDir()}).Missing(); err == nil || !strings.Contains(err.Error(), "release init") {
		t.Error(err)
	}
}
