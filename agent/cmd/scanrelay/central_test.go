//go:build !gateway

package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/store/snapshot"
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

// TestReloadKey: a reload takes up another store.key_file, if it opens what is stored:
// else all stays as it was, whatever else is in it.
func TestReloadKey(t *testing.T) {
	dir := t.TempDir()
	file, keys := filepath.Join(dir, "central.yaml"), filepath.Join(dir, "keys")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, two := strings.Repeat("1", 64)+"\n", strings.Repeat("2", 64)+"\n"
	text := "data_dir: " + dir + "/data\nwechat: {appid: wx0123456789abcdef, secret: s, callback: {token: theToken, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG}}\nstore: {key_file: " + keys + "}\nadmin_token: "
	write(keys, one)
	write(file, text+"a-long-random-text\n")
	var log bytes.Buffer
	a := newApp(cli.IO{Err: &log})
	cfg, problems := configs.LoadCentral(file, nil)
	if problems.Failed() {
		t.Fatal(problems)
	}
	logger := a.logger(cfg.Log)
	snap, err := openSnapshot(t.Context(), cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	parts, err := openIdentities(t.Context(), cfg, snap, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer parts.Close()
	c, err := a.newCentral(cfg, snap, parts, logger)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snap.Import(t.Context(), []snapshot.Import{{Waybill: "YT1"}}); err != nil { // the store has a data key now
		t.Fatal(err)
	}
	key := cfg.Store.Key
	for _, row := range []struct{ keys, token, want string }{
		{two, "another-random-text", "the one before stays in use"},
		{"no key", "another-random-text", "the one before stays in use"},
		{two + one, "another-random-text", `configuration reloaded","file`},
	} {
		log.Reset()
		write(keys, row.keys)
		write(file, text+row.token+"\n")
		before := key
		key = a.reloadCentral(context.Background(), c, snap, file, cfg, key, logger)
		if taken := key != before; !strings.Contains(log.String(), row.want) || taken != strings.Contains(row.want, "reloaded") || strings.Contains(log.String(), "restart") {
			t.Errorf("after %q, taken %v: %s", row.keys[:1], taken, log.String())
		}
	}
}
