package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// TestLimits weighs a file that xz makes small: each limit holds by itself.
func TestLimits(t *testing.T) {
	path := t.TempDir() + "/binary"
	if err := os.WriteFile(path, bytes.Repeat([]byte("scan"), 25_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limits limits
		names  string // what the error must name; "": none
	}{
		{limits{100_000, 1000}, ""},
		{limits{99_999, 1000}, "binary has 100000 bytes"},
		{limits{100_000, 10}, "binary under xz -9 has"},
	} {
		err := checkLimits(io.Discard, path, c.limits)
		if (err == nil) != (c.names == "") || err != nil && !strings.Contains(err.Error(), c.names) {
			t.Errorf("%+v: %v, want %q", c.limits, err, c.names)
		}
	}
}

// TestOwner finds whose a symbol is.
func TestOwner(t *testing.T) {
	modules := []string{"scanrelay", "go.etcd.io/bbolt", "github.com/mochi-mqtt/server/v2"}
	for symbol, want := range map[string]string{
		"scanrelay/store.(*Outbox).Append":             "scanrelay",
		"main.main":                                    "scanrelay",
		"go.etcd.io/bbolt.Open":                        "go.etcd.io/bbolt",
		"github.com/mochi-mqtt/server/v2/packets.Code": "github.com/mochi-mqtt/server/v2",
		"crypto/aes.encrypt":                           "standard library",
		"type:*http.Request":                           "tables of the Go runtime",
	} {
		if got := owner(symbol, modules); got != want {
			t.Errorf("%s is of %s, want %s", symbol, got, want)
		}
	}
}
