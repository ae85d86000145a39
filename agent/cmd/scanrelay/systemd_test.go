package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs/serve"
)

// systemd is a notify socket; read returns the next state it was told.
func systemd(t *testing.T) (path string, read func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return path, func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestSystemdHearsOfTheService(t *testing.T) {
	path, read := systemd(t)
	a := &app{IO: cli.IO{Env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=20000"}}}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- a.serve(ctx, slog.New(slog.DiscardHandler), ready, func() error { return nil },
			func(ctx context.Context) error { <-ctx.Done(); return nil })
	}()
	close(ready)
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := read(); got != want {
			t.Fatalf("systemd was told %q, want %q", got, want)
		}
	}
	stop()
	for got := read(); got != "STOPPING=1"; got = read() {
		if got != "WATCHDOG=1" {
			t.Fatalf("systemd was told %q", got)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A hung agent must be restarted: systemd must not be told that it is alive.
func TestWatchdogIsWithheld(t *testing.T) {
	path, read := systemd(t)
	var log bytes.Buffer
	n := serve.NewNotifier([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=2000"}, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	n.Watch(ctx, func() error {
		if tries++; tries == 5 {
			cancel()
		}
		return errors.New("hung")
	})
	n.Tell("END")
	if got := read(); got != "END" {
		t.Errorf("systemd was told %q while the agent hung", got)
	}
	if !strings.Contains(log.String(), "watchdog withheld") {
		t.Error("nothing was logged")
	}
}
