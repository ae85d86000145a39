package textfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(file, 4); err != nil || string(data) != "1234" {
		t.Errorf("four bytes are %q, %v", data, err)
	}
	if _, err := Read(file, 3); err == nil || !strings.Contains(err.Error(), "larger than 3 bytes") {
		t.Errorf("more than three bytes: %v", err)
	}
	if _, err := Read(filepath.Dir(file), 4); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a folder: %v", err)
	}
}

// TestReadOfAPipe: what is written into a pipe is read; one that nobody writes, or in
// which nothing comes, holds nobody up.
func TestReadOfAPipe(t *testing.T) {
	patience = 100 * time.Millisecond
	defer func() { patience = 10 * time.Second }()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(pipe, 10); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody wrote %q, %v", data, err)
	}
	patience = time.Minute
	type result struct {
		data []byte
		err  error
	}
	late := make(chan result)
	go func() {
		data, err := Read(pipe, 10)
		late <- result{data, err}
	}()
	if w, err := os.OpenFile(pipe, os.O_WRONLY, 0); err != nil { // waits for who reads
		t.Fatal(err)
	} else if _, err = w.WriteString("secret"); errors.Join(err, w.Close()) != nil {
		t.Fatal(err)
	}
	if r := <-late; r.err != nil || string(r.data) != "secret" {
		t.Errorf("written late: %q, %v", r.data, r.err)
	}
	patience = 100 * time.Millisecond
	w, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := Read(pipe, 10); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing came: %v", err)
	}
	if _, err := w.WriteString("0123456789"); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(pipe, 9); err == nil || string(data) != "0123456789" {
		t.Errorf("ten bytes are %q, %v", data, err)
	}
}
