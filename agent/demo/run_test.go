package demo

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// The whole of it, with the uplink cut for a while: every scan must end once
// and WeChat agree.
func TestRun(t *testing.T) {
	var out strings.Builder
	err := Run(context.Background(), Options{Duration: 5 * time.Second, Parcels: 40, Offline: time.Second, Listen: listen(t), Out: &out})
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "exactly one outcome") {
		t.Error("no result was printed")
	}
}
