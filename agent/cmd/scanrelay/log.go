package main

import (
	"log/slog"

	"scanrelay/configs"
)

// logger makes the process's logger, writing to stderr: text on a terminal,
// JSON elsewhere, unless the configuration says which.
func (a *app) logger(c configs.Log) *slog.Logger {
	a.setLevel(c)
	o := &slog.HandlerOptions{Level: &a.level, ReplaceAttr: readable}
	if c.Format == "json" || c.Format != "text" && !a.ErrTerminal {
		return slog.New(slog.NewJSONHandler(a.Err, o))
	}
	return slog.New(slog.NewTextHandler(a.Err, o))
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
