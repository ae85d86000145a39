package serve

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Who calls on the socket is told by the kernel, not by the caller.
func TestPeersAreNamed(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at, err := Peers{ln}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	if got, want := at.RemoteAddr().String(), fmt.Sprint("uid ", os.Getuid()); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
