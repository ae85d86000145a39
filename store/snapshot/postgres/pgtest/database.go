package pgtest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// shared is the instance of this test program.
var shared struct {
	sync.Mutex
	server *Server
}

var databases atomic.Int64

// Main runs the tests of a program and ends its instance, if there is one.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return code
	}
	if err := shared.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "end PostgreSQL:", err)
		return max(code, 1)
	}
	return code
}

// Shared returns the instance of this test program.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := New()
		if err != nil {
			t.Fatal(err)
		}
		shared.server = s
	}
	return shared.server
}

// Database makes an empty database for a test and returns its instance and name.
// It goes when the test ends.
func Database(t testing.TB) (*Server, string) {
	t.Helper()
	s, name := Shared(t), fmt.Sprintf("test_%d", databases.Add(1))
	if err := s.Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.SQL("postgres", fmt.Sprintf("DROP DATABASE %q WITH (FORCE)", name)); err != nil {
			t.Error(errors.Join(errors.New("drop the test's database"), err))
		}
	})
	return s, name
}
