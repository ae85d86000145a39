package link

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// A link on which nothing comes any more is given up, though the connection
// looks open.
func TestSourceWatchdog(t *testing.T) {
	l := &watched{quiet: 50 * time.Millisecond}
	a, b := net.Pipe()
	defer b.Close()
	l.Conn = a
	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a quiet link reads %v", err)
	}
}
