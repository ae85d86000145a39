package serve

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
		if err := conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
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
	ctx, stop := context.WithCancel(t.Context())
	ready := make(chan struct{})
	n := NewNotifier([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=20000"}, slog.New(slog.DiscardHandler))
	end := n.Accompany(ctx, ready, func() error { return nil })
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
	end()
}

// A systemd that takes nothing must not hang the end of the service.
func TestSystemdThatTakesNothing(t *testing.T) {
	path, _ := systemd(t)
	n := NewNotifier([]string{"NOTIFY_SOCKET=" + path}, slog.New(slog.DiscardHandler))
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil { // until its queue is full
		_, err = conn.Write([]byte("x"))
	}
	n.Tell("STOPPING=1") // would wait for ever
}

// A hung agent must be restarted: systemd must not be told that it is alive.
func TestWatchdogIsWithheld(t *testing.T) {
	path, read := systemd(t)
	var log bytes.Buffer
	n := NewNotifier([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=2000"}, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	n.watch(ctx, func() error {
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
