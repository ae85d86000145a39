package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// reader is who reads a log: not before free is closed, and not at all while gone
// is set.
type reader struct {
	free chan struct{}
	gone bool
	got  bytes.Buffer
}

func (r *reader) Write(p []byte) (int, error) {
	<-r.free
	if r.gone {
		return 0, errors.New("broken pipe")
	}
	return r.got.Write(p)
}

// A log nobody reads stops nobody, takes bounded memory, and says how many lines
// it has not kept.
func TestALogThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{free: make(chan struct{})}
		l := NewLog(r)
		l.Detach()
		l.OnRecovery(func(n uint64) { fmt.Fprintf(l, "%d lines were dropped\n", n) })
		line := []byte(strings.Repeat("x", 1023) + "\n")
		const written = 10_000
		for range written {
			if n, err := l.Write(line); n != len(line) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
			synctest.Wait()
		}
		lost := l.Dropped()
		if kept := written - lost; kept < 256 || kept > 2*256 {
			t.Errorf("%d lines were kept", kept)
		}
		begin := time.Now()
		if l.Flush(time.Second); time.Since(begin) != time.Second {
			t.Errorf("Flush waited for %v", time.Since(begin))
		}
		close(r.free)
		if l.Flush(time.Hour); time.Since(begin) != time.Second {
			t.Errorf("with a reader Flush waited for %v", time.Since(begin))
		}
		if want := fmt.Sprintf("%d lines were dropped\n", lost); strings.Count(r.got.String(), want) != 1 ||
			strings.Count(r.got.String(), "\n") != written-int(lost)+1 {
			t.Errorf("the reader got %d lines and %d notices", strings.Count(r.got.String(), "\n"), strings.Count(r.got.String(), "dropped"))
		}
	})
}

// Who reads is gone, and another comes.
func TestTheReaderOfALogIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{free: make(chan struct{}), gone: true}
		close(r.free)
		l := NewLog(r)
		if _, err := l.Write([]byte("x\n")); err == nil {
			t.Error("before Detach the error is kept back")
		}
		l.Detach()
		for range 3 {
			if _, err := l.Write([]byte("x\n")); err != nil {
				t.Errorf("Write: %v", err)
			}
			l.Flush(time.Hour)
		}
		r.gone = false
		if _, err := l.Write([]byte("y\n")); err != nil {
			t.Errorf("Write: %v", err)
		}
		l.Flush(time.Hour)
		if l.Dropped() != 3 || r.got.String() != "y\n" {
			t.Errorf("%d lines dropped, read was %q", l.Dropped(), r.got.String())
		}
	})
}

// TestRecent: the latest lines are kept, by number and by size, whoever reads the log.
func TestRecent(t *testing.T) {
	l := NewLog(io.Discard)
	_, _ = l.Write([]byte("before\n"))
	l.Keep(3)
	for i := range 5 {
		_, _ = fmt.Fprintf(l, "line %d\n", i)
	}
	l.Detach()
	_, _ = l.Write([]byte("last\n"))
	if got, want := string(l.Recent()), "line 3\nline 4\nlast\n"; got != want {
		t.Errorf("it keeps %q, want %q", got, want)
	}
	l.Keep(1 << 20)
	for range 3 * recentRoom / 1024 {
		_, _ = l.Write(bytes.Repeat([]byte("x"), 1024))
	}
	if n := len(l.Recent()); n != recentRoom {
		t.Errorf("it keeps %d bytes, want %d", n, recentRoom)
	}
}
