package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"scanrelay/configs"
)

// People read the log: a duration is 1m30s and a moment is UTC, in both formats.
func TestLogIsReadable(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		a := &app{stdio: stdio{err: &out}}
		at := time.Date(2026, 11, 23, 16, 0, 0, 0, time.FixedZone("Asia/Shanghai", 8*3600))
		a.logger(configs.Log{Level: "info", Format: format}).Info("x", "again_in", 90*time.Second, "at", at)
		for _, want := range []string{"1m30s", "2026-11-23T08:00:00"} {
			if !bytes.Contains(out.Bytes(), []byte(want)) {
				t.Errorf("%s: no %s in %s", format, want, out.String())
			}
		}
		if format == "json" && !json.Valid(out.Bytes()) {
			t.Errorf("no JSON: %s", out.String())
		}
	}
}
