package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/agent/control"
	"scanrelay/configs"
)

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, configs.SocketName)

	// A killed agent leaves its socket behind.
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	if ln, err = listenControl(dir); err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode: %v %v", info.Mode(), err)
	}
	if _, err := listenControl(dir); !errors.Is(err, errRunning) {
		t.Errorf("over a live socket: %v", err)
	}
	_ = ln.Close()
	if _, err := control.Dial(t.Context(), dir); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("dial when nobody listens: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenControl(dir); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("over a file: %v", err)
	}
	long := "/" + strings.Repeat("x", 120)
	if _, err := listenControl(long); err == nil || !strings.Contains(err.Error(), "at most 107 bytes") {
		t.Errorf("long path: %v", err)
	}
	if _, err := control.Dial(t.Context(), long); err == nil || !strings.Contains(err.Error(), "shorter data_dir") {
		t.Errorf("dial of a long path: %v", err)
	}
}
