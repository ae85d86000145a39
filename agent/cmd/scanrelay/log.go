package main

import (
	"log/slog"

	"scanrelay/configs"
)

// logger makes a role's logger, writing to stderr: text on a terminal, JSON
// elsewhere, unless the configuration says which.
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
	return logger
}

// setLevel changes what the logger lets through.
func (a *app) setLevel(c configs.Log) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the loader has checked the word
	}
	a.level.Set(level)
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
