package update

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/release"
)

// publisher has a repository and its keys.
type publisher struct {
	t *testing.T
	release.Repository
	keys []*release.Key
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{t: t, Repository: release.Repository{Dir: t.TempDir()}}
	keys := t.TempDir()
	err := p.Init(keys, "correct horse", nil)
	for _, name := range []string{"targets", "snapshot", "timestamp"} {
		k, bad := release.LoadKey(filepath.Join(keys, name+".key"), "correct horse")
		if err == nil {
			err = bad
		}
		p.keys = append(p.keys, k)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// publish adds a version for an ARM of 64 bits.
func (p *publisher) publish(version, minFrom string) {
	p.t.Helper()
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: 1, Ehsize: 64,
	})
	b.WriteString(version)
	file := filepath.Join(p.t.TempDir(), "program")
	err := os.WriteFile(file, b.Bytes(), 0o600)
	if err == nil {
		_, err = p.Add(release.Release{Name: follow.Program, Version: version, MinFrom: minFrom}, []string{file})
	}
	for _, k := range p.keys {
		if err == nil {
			_, err = p.Sign(k)
		}
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func checked(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	world := cli.IO{Out: &b, Err: &b, Env: []string{"LANG=C"}}
	root := &cli.Command{Use: "scanrelay"}
	root.Add(Commands(world, "/nowhere", "0.9.0", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))...)
	code = world.Run(context.Background(), root, append([]string{"update", "check"}, args...))
	return code, b.String()
}

// TestCheck: what a gateway would install is named, what it would refuse is refused in
// words, and what was seen is not forgotten.
func TestCheck(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := newPublisher(t)
	p.publish("1.0.0", "")
	p.publish("1.5.0", "")
	dir, root, state := p.Dir, filepath.Join(p.Dir, "root.json"), filepath.Join(t.TempDir(), "state")
	stick := filepath.Join(t.TempDir(), "stick")
	if _, err := p.Bundle(t.Context(), follow.Program, "1.0.0", "linux/arm64", stick); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	p.publish("2.0.0", "1.5.0")
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	arm := []string{"--os-arch", "linux/arm64", "--root", root}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "check needs --repo", nil},
		{2, "and --root FILE", []string{"--repo", dir}},
		{1, "no such file", []string{"--repo", dir + "/nothing", "--root", root}},
		{1, "read root", []string{"--repo", dir, "--root", "/nowhere"}},
		{1, "it is metadata of \"timestamp\"", []string{"--repo", dir, "--root", dir + "/timestamp.json"}},
		{1, "there is none for linux/riscv64; there is linux/arm64", []string{"--repo", dir, "--root", root, "--os-arch", "linux/riscv64"}},
		{0, "linux/arm64 would install scanrelay 1.5.0", append(arm, "--repo", dir, "--state", state)},
		{0, "linux/arm64 would install scanrelay 2.0.0", append(arm, "--repo", dir, "--current", "1.5.0")},
		{0, "linux/arm64 would install scanrelay 2.0.0", append(arm, "--repo", server.URL, "--current", "1.5.0")},
		{0, "nothing to install: 2.0.0 runs", append(arm, "--repo", dir, "--current", "2.0.0")},
		{1, "1.0.0 is older than 1.5.0", append(arm, "--repo", dir, "--current", "1.5.0", "--version", "1.0.0")},
		{0, "would install scanrelay 1.0.0", append(arm, "--repo", stick)},
		{0, "would install scanrelay 1.5.0", append(arm, "--repo", old)},
		{1, "timestamp: rolled back", append(arm, "--repo", old, "--state", state)},
		{1, "timestamp: rolled back", []string{"--repo", old, "--state", state, "--os-arch", "linux/arm64"}},
	} {
		if code, out := checked(t, c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("update check %s: exit code %d, %s", strings.Join(c.args, " "), code, out)
		}
	}
	for _, spoilt := range [][]byte{nil, make([]byte, 512), []byte("garbage")} {
		if err := os.WriteFile(state+"/trust", spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := checked(t, "--repo", dir, "--state", state); code != 1 || !strings.Contains(out, "kept as trust.unreadable") {
			t.Errorf("%q: exit code %d, %s", spoilt, code, out)
		}
		if err := os.WriteFile(state+"/trust", spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := checked(t, append(arm, "--repo", dir, "--state", state)...); code != 0 || !strings.Contains(out, "cannot be read") || !strings.Contains(out, "would install") {
			t.Errorf("%q, with a root: exit code %d, %s", spoilt, code, out)
		}
	}
	programs, err := filepath.Glob(dir + "/targets/scanrelay/1.5.0/*")
	if err != nil || len(programs) != 1 {
		t.Fatal(programs, err)
	}
	content, err := os.ReadFile(programs[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(programs[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := checked(t, append(arm, "--repo", dir)...); code != 1 || !strings.Contains(out, "its SHA-256 is not the one that was signed for") {
		t.Errorf("another program: exit code %d, %s", code, out)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "scanrelay-check*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
