//go:build !gateway

package main

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"scanrelay/configs"
)

// TestGarbage: how much garbage piles up is set by role, unless the environment says it.
func TestGarbage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file") // no folder: neither role goes on
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, log, a := filepath.Join(file, "data"), slog.New(slog.DiscardHandler), new(app)
	run := map[string]func() error{
		"agent":   func() error { return a.runAgent(t.Context(), "", &configs.Agent{DataDir: dir}, nil, log) },
		"central": func() error { return a.runCentral(t.Context(), "", &configs.Central{DataDir: dir}, log) },
	}
	const own = 77
	percent, limit := debug.SetGCPercent(own), debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	for _, c := range []struct {
		role, env string
		percent   int
		limit     int64
	}{
		{"agent", "", 50, math.MaxInt64}, {"central", "", 400, 2 << 30}, {"agent", "90", own, math.MaxInt64}, {"central", "90", own, math.MaxInt64},
	} {
		t.Setenv("GOGC", c.env)
		t.Setenv("GOMEMLIMIT", c.env)
		debug.SetGCPercent(own)
		debug.SetMemoryLimit(math.MaxInt64)
		if err := run[c.role](); err == nil {
			t.Fatalf("%s ran", c.role)
		}
		if p, l := debug.SetGCPercent(own), debug.SetMemoryLimit(-1); p != c.percent || l != c.limit {
			t.Errorf("%s, environment %q: %d %%, %d bytes", c.role, c.env, p, l)
		}
	}
}
