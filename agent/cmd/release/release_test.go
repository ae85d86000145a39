package release

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/agent/cmd/cli"
)

// run runs scanrelay with these arguments and returns what it said.
func run(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	world := cli.IO{Out: &out, Err: &out}
	root := &cli.Command{Use: "scanrelay"}
	root.Add(Command(world))
	if got := world.Run(context.Background(), root, args); got != code {
		t.Fatalf("scanrelay %s: exit code %d, %s", strings.Join(args, " "), got, &out)
	}
	return out.String()
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRelease publishes one as a person does, and shows no passphrase anywhere.
func TestRelease(t *testing.T) {
	folder := t.TempDir()
	dir, stick := filepath.Join(folder, "repository"), filepath.Join(folder, "stick")
	pass := write(t, filepath.Join(folder, "passphrase"), []byte("correct horse\n"))
	var program bytes.Buffer
	_ = binary.Write(&program, binary.LittleEndian, elf.Header32{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_ARM), Version: 1, Ehsize: 52,
	})
	agent := write(t, filepath.Join(folder, "agent"), program.Bytes())
	key := func(name string) string { return filepath.Join(dir, "keys", name+".key") }
	sign := func(names ...string) []string {
		args := []string{"release", "sign", dir, "--passphrase-file", pass}
		for _, name := range names {
			args = append(args, "--key", key(name))
		}
		return args
	}
	said := ""
	for _, step := range []struct {
		code int
		want string
		args []string
	}{
		{2, "needs --passphrase-file", []string{"release", "init", dir}},
		{0, "made a repository", []string{"release", "init", dir, "--passphrase-file", pass}},
		{1, "already", []string{"release", "init", dir, "--passphrase-file", pass}},
		{0, "all is right until", []string{"release", "verify", dir}},
		{2, "needs DIR, --version V", []string{"release", "add", dir, agent}},
		{2, "--store must be as 1-2", []string{"release", "add", dir, agent, "--version", "1.0.0", "--store", "2-1"}},
		{1, "for which GOARM", []string{"release", "add", dir, agent, "--version", "1.0.0"}},
		{0, "(targets.key)", []string{"release", "add", dir, agent, "--version", "1.0.0", "--goarm", "6", "--store", "1-2", "--protocol", "1-1"}},
		{1, "not published yet", []string{"release", "verify", dir}},
		{1, "there is no scanrelay 1.0.0", []string{"release", "bundle", dir, "--version", "1.0.0", "--os-arch", "linux/arm/6", "--to", stick}},
		{2, "needs --key", []string{"release", "sign", dir}},
		{0, "nothing waits for this key", sign("root-1")},
		{0, "published timestamp", sign("targets", "snapshot", "timestamp")},
		{0, "linux/arm/6", []string{"release", "verify", dir}},
		{0, `"missing":null`, []string{"release", "verify", dir, "--json"}},
		{2, "needs --version", []string{"release", "bundle", dir}},
		{0, "scanrelay update apply stick", []string{"release", "bundle", dir, "--version", "1.0.0", "--os-arch", "linux/arm/6", "--to", stick}},
		{0, "made key", []string{"release", "key", key("new"), "--passphrase-file", pass}},
		{0, "made key", []string{"release", "key", key("online"), "--online"}},
		{2, "or --online", []string{"release", "key", key("neither")}},
		{2, "needs --role", []string{"release", "rotate", dir, "--new", key("new")}},
		{0, "missing: root 2 needs 2", []string{"release", "rotate", dir, "--role", "timestamp", "--old", key("timestamp"), "--new", key("new")}},
		{0, "published timestamp", sign("root-1", "root-3", "new")},
		{0, "published timestamp", append(sign("new"), "--renew")},
		{0, "all is right", []string{"release", "verify", dir}},
	} {
		out := run(t, step.code, step.args...)
		if !strings.Contains(out, step.want) {
			t.Fatalf("scanrelay %s: %s", strings.Join(step.args, " "), out)
		}
		said += out
	}
	if strings.Contains(said, "horse") {
		t.Errorf("the passphrase was shown: %s", said)
	}
	wrong := write(t, pass, []byte("wrong"))
	if out := run(t, 1, "release", "sign", dir, "--key", key("targets"), "--passphrase-file", wrong); !strings.Contains(out, "does not open") {
		t.Error(out)
	}
}
