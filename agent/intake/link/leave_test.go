package link

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
)

// After DISCONNECT the broker closes the connection, once it has read what was written
// before, whatever it sends meanwhile: were it closed here, that would be lost.
func TestTheBrokerClosesFirst(t *testing.T) {
	ours, theirs := net.Pipe()
	w := &watched{Conn: ours, closes: intaketest.Patience}
	closed := make(chan error, 1)
	go func() {
		for _, p := range [][]byte{{0x40, 2, 0, 1}, {0xe0, 0}, {0x40, 2, 0, 2}} { // nothing may follow DISCONNECT
			if _, err := w.Write(p); err != nil {
				t.Error(err)
			}
		}
		closed <- w.Close()
	}()
	got := make([]byte, 6)
	if _, err := io.ReadFull(theirs, got); err != nil {
		t.Fatal(err)
	}
	for range 100 { // messages that nobody takes
		if _, err := theirs.Write([]byte("message")); err != nil {
			t.Fatalf("it closed before the broker did: %v", err)
		}
	}
	select {
	case <-closed:
		t.Error("it closed before the broker did")
	default:
	}
	_ = theirs.Close()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A broker that does not close holds nobody up for longer than it has time.
func TestABrokerThatDoesNotClose(t *testing.T) {
	ours, theirs := net.Pipe()
	w := &watched{Conn: ours, closes: time.Millisecond}
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	if _, err := w.Write([]byte{0xe0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("it is still open: %v", err)
	}
	_ = theirs.Close()
}
