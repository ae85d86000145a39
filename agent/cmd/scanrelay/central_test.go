//go:build !gateway

package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"

	"scanrelay/configs"
)

// TestListenCentral: where one listener fails the others are closed.
func TestListenCentral(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	for _, cfg := range []*configs.Central{
		{Listen: free.Addr().String(), OpsListen: taken.Addr().String()},
		{Listen: taken.Addr().String()},
	} {
		cfg.DataDir = t.TempDir()
		if _, err := listenCentral(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is taken by another program") {
			t.Errorf("%v", err)
		}
		if _, err := os.Lstat(centralSocket(cfg.DataDir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the local socket: %v", err)
		}
		again, err := net.Listen("tcp", free.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = again.Close()
	}
}
