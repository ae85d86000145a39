package main

import (
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/store/durable"
)

// logger makes a role's logger, writing to stderr: text on a terminal, JSON
// elsewhere, unless the configuration says which. What libraries log goes there, too.
func (a *app) logger(c configs.Log) *slog.Logger {
	a.setLevel(c)
	o := &slog.HandlerOptions{Level: &a.level, ReplaceAttr: readable}
	var h slog.Handler = slog.NewTextHandler(a.Err, o)
	if c.Format == "json" || c.Format != "text" && !a.ErrTerminal {
		h = slog.NewJSONHandler(a.Err, o)
	}
	logger := slog.New(h)
	a.stderr.OnRecovery(func(lines uint64) {
		logger.Warn("the log was not read: lines were dropped", "lines", lines)
	})
	durable.OnShortage(func(err error) {
		logger.Error("no further file can be opened: what needs one waits", "error", err)
	})
	log.SetFlags(0)
	log.SetOutput(libraryLog{logger})
	return logger
}

// libraryLog takes what the standard library logs by itself, as net/http does of an answer
// that nobody asked for. What it quotes others sent: of that nothing is shown.
type libraryLog struct{ *slog.Logger }

func (l libraryLog) Write(p []byte) (int, error) {
	text, _, _ := strings.Cut(string(p), `"`)
	l.Warn("told by a library", "error", scan.MaskPayload(strings.TrimSpace(text)))
	return len(p), nil
}

// setLevel changes what the logger lets through.
func (a *app) setLevel(c configs.Log) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the loader has checked the word
	}
	a.level.configure(level)
}

// verbosity is the level of the log: the configuration's, or another one for a
// while.
type verbosity struct {
	slog.LevelVar
	mu   sync.Mutex // guards what follows
	own  slog.Level // the configuration's
	back *time.Timer
}

// configure sets the configuration's level; what was for a while ends.
func (v *verbosity) configure(level slog.Level) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.back != nil {
		v.back.Stop()
	}
	v.own = level
	v.Set(level)
}

// hold sets another level for a while.
func (v *verbosity) hold(level slog.Level, hold time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.back != nil {
		v.back.Stop()
	}
	v.Set(level)
	var mine *time.Timer
	mine = time.AfterFunc(hold, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.back == mine { // else another one came in the last moment
			v.Set(v.own)
		}
	})
	v.back = mine
}

// readable writes moments in UTC and durations as 1.5s instead of nanoseconds.
func readable(_ []string, attr slog.Attr) slog.Attr {
	switch attr.Value.Kind() {
	case slog.KindTime:
		attr.Value = slog.TimeValue(attr.Value.Time().UTC())
	case slog.KindDuration:
		attr.Value = slog.StringValue(attr.Value.Duration().String())
	}
	return attr
}
