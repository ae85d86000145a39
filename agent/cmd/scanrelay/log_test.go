package main

import (
	"bytes"
	"encoding/json"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
)

// People read the log: a duration is 1m30s and a moment is UTC, in both formats.
func TestLogIsReadable(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		a := newApp(cli.IO{Err: &out})
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

func TestLogFormats(t *testing.T) {
	for _, row := range []struct {
		format string
		tty    bool
		want   string
	}{
		{"auto", false, `"msg":"m","took":"1.5s"}`}, {"auto", true, "msg=m took=1.5s"},
		{"json", true, `"msg":"m","took":"1.5s"}`}, {"text", false, "msg=m took=1.5s"},
	} {
		var b bytes.Buffer
		l := newApp(cli.IO{Err: &b, ErrTerminal: row.tty}).logger(configs.Log{Level: "warn", Format: row.format})
		l.Info("hidden")
		l.Warn("m", "took", 1500*time.Millisecond)
		if !strings.Contains(b.String(), row.want) || strings.Contains(b.String(), "hidden") || !strings.Contains(b.String(), "Z") {
			t.Errorf("%s, terminal %v: %s", row.format, row.tty, b.String())
		}
	}
}

// TestLevelGoesBack: a level that was set for a while ends by itself, with a later
// one, and with a reload.
func TestLevelGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v verbosity
		want := func(level slog.Level) {
			t.Helper()
			synctest.Wait()
			if v.Level() != level {
				t.Errorf("the level is %s, want %s", v.Level(), level)
			}
		}
		v.configure(slog.LevelInfo)
		v.hold(slog.LevelDebug, 10*time.Minute)
		want(slog.LevelDebug)
		time.Sleep(10 * time.Minute)
		want(slog.LevelInfo)
		v.hold(slog.LevelDebug, time.Minute)
		v.hold(slog.LevelError, time.Hour)
		time.Sleep(30 * time.Minute)
		want(slog.LevelError)
		v.configure(slog.LevelWarn)
		time.Sleep(time.Hour)
		want(slog.LevelWarn)
	})
}

// TestLibrariesLogAsWeDo: what the standard library logs by itself is masked, and in our form.
func TestLibrariesLogAsWeDo(t *testing.T) {
	var out bytes.Buffer
	a := newApp(cli.IO{Err: &out})
	a.logger(configs.Log{Level: "info", Format: "json"})
	defer func(flags int) { log.SetOutput(os.Stderr); log.SetFlags(flags) }(log.LstdFlags)
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "李四 zhangsan 13800138000", nil)
	a.stderr.Flush(time.Minute)
	got := out.String()
	if !strings.Contains(got, `"level":"WARN","msg":"told by a library"`) || !strings.Contains(got, "channel") || strings.Contains(got, "李") || strings.Contains(got, "zhang") || strings.Contains(got, "138") {
		t.Error(got)
	}
}
