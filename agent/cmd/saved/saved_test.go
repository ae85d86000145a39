package saved_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/cmd/saved"
)

// TestRoundTrip: what is read is what was written, over two runs that write.
func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "messages")
	want := []struct{ topic, payload string }{
		{"scans/gate-3", `{"waybill_id":"YT1"}`}, {"../../etc/passwd", "\x00\xff\r\n"}, {"长/" + strings.Repeat("x", 40000), ""}, {"scans/gate-3", "2"},
	}
	at := time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)
	for _, part := range [][2]int{{0, 2}, {2, 4}} {
		f, err := saved.Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range want[part[0]:part[1]] {
			if err := f.Put(saved.Message{Topic: m.topic, ReceivedAt: at, Retained: true}, []byte(m.payload)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		// As a power cut leaves it: a payload, and a piece of its line.
		index, err := os.OpenFile(filepath.Join(dir, saved.IndexName), os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = index.WriteString(`{"file":"00`)
		}
		err = errors.Join(err, index.Close(), os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.payload", 3*part[1]/2)), nil, 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := saved.Read(dir, "", func(m saved.Message, payload []byte) error {
		if m.Topic != want[n].topic || string(payload) != want[n].payload || !m.ReceivedAt.Equal(at) || !m.Retained || m.DUP {
			t.Errorf("message %d is %+v %q", n, m, payload)
		}
		n++
		return nil
	})
	if err != nil || n != len(want) {
		t.Error(n, err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if info, bad := d.Info(); bad != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: others may read it", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestOthersFiles: files that somebody else wrote are messages on the topic that is given.
func TestOthersFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b.json": "2", "a.json": "1", "sub/c.json": "3", saved.IndexName: "{}"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := ""
	err := saved.Read(dir, "t", func(m saved.Message, payload []byte) error {
		got += m.File + " " + m.Topic + " " + string(payload) + ";"
		return nil
	})
	if err != nil || got != "a.json t 1;b.json t 2;" {
		t.Error(got, err)
	}
}

// TestBadFolders: what is wrong with a folder is said, and nothing outside of it is read.
func TestBadFolders(t *testing.T) {
	for index, want := range map[string]string{
		`{"file":"../x","topic":"t"}`: "messages.jsonl:1: file \"../x\" is no file", `{"file":"/etc/passwd"}`: "is no file", `{"file":".."}`: "is no file", `{}`: "is no file",
		"{\"file\":\"a\",\"topic\":\"t\"}\n{\n": "messages.jsonl:2", `{"file":"pipe"}`: "pipe is no file", `{"file":"sub"}`: "sub is no file", `{"file":"gone","topic":"t"}`: "no such file", "-": "--topic",
		`{"file":"big"}`: "larger than 4 MiB", strings.Repeat("x", 2<<20): "buffer full",
	} {
		dir := t.TempDir()
		write := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("a", "x")
		write("big", strings.Repeat("x", saved.MaxPayload+1))
		if index != "-" {
			write(saved.IndexName, index+"\n")
		}
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "sub"), 0o700), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
			t.Fatal(err)
		}
		err := saved.Read(dir, "", func(saved.Message, []byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", index, err)
		}
		if index != "-" && strings.Contains(want, "messages.jsonl") {
			if _, err := saved.Create(dir); err == nil {
				t.Errorf("%.60s: it is written on", index)
			}
		}
	}
}
