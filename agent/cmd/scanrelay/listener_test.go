package main

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// A disk on which no file can be made keeps no agent from draining what it has: it goes
// on without the socket.
func TestNoNameForTheControlSocket(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=1"); err != nil {
		t.Logf("no disk of its own: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	var said strings.Builder
	ls, err := listenAgent(&configs.Agent{DataDir: dir, MQTT: configs.MQTT{Broker: "tcp://127.0.0.1:1"}}, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil || ls.Control != nil || !strings.Contains(said.String(), "no space left") {
		t.Errorf("%+v, %v; it says %q", ls, err, said.String())
	}
}
