package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scanrelay/agent/cmd/cli"
	"scanrelay/store"
)

// unpack reads a bundle.
func unpack(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "scanrelay/")] = string(text)
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestWithoutAgent: where no agent runs there is what its files tell, and the manifest
// names what is missing; a file that is there stays as it is.
func TestWithoutAgent(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	o, err := store.Open(data, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "agent.yaml")
	yaml := "depot: {id: hz-01}\ndata_dir: " + data + "\ncentral: {url: http://127.0.0.1:1, token: topsecret0123456}\n" +
		"wechat: {base_url: http://127.0.0.1:1}\nmqtt: {broker: embedded, listen: 127.0.0.1:1, embedded: {users: [{username: g, password: hidden-word}]}}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(to string) (int, string, string) {
		var out, errs bytes.Buffer
		world := cli.IO{Out: &out, Err: &errs}
		root := &cli.Command{Use: "scanrelay"}
		root.Add(Command(world, "none", "v1"))
		code := world.Run(context.Background(), root, []string{"bundle", "-c", file, "--to", to})
		return code, out.String(), errs.String()
	}
	to := filepath.Join(dir, "b.tar.gz")
	code, out, errs := run(to)
	packed, err := os.ReadFile(to)
	if code != 0 || err != nil {
		t.Fatal(code, out, errs, err)
	}
	files := unpack(t, packed)
	for name, want := range map[string]string{
		"manifest.txt": "metrics.txt          missing: the agent is not running", "doctor.json": `"check":"centre","result":"fail"`,
		"configuration.json": "hz-01", "status.json": `"depot": "hz-01"`, "store.json": `"good": true`, "version.json": `"version":"v1"`,
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s has no %s:\n%s", name, want, files[name])
		}
	}
	for name, text := range files {
		for _, hidden := range []string{"topsecret", "hidden-word"} {
			if strings.Contains(text, hidden) {
				t.Errorf("%s has %s", name, hidden)
			}
		}
	}
	if code, _, errs := run(to); code == 0 || !strings.Contains(errs, "file exists") {
		t.Errorf("a second run ends with %d: %s", code, errs)
	}
	if b := (&bundler{IO: cli.IO{Out: full{}}, file: file, to: "-"}); !errors.Is(b.run(t.Context()), syscall.ENOSPC) {
		t.Error("a full disk is not told")
	}
	if code, out, errs := run("-"); code != 0 || len(unpack(t, []byte(out))) != len(files) {
		t.Errorf("to stdout it ends with %d: %s", code, errs)
	}
}
