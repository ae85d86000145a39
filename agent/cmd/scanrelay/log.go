package main

import (
	"log/slog"

	"scanrelay/configs"
)

// logger makes the process's logger, writing to stderr: text on a terminal,
// JSON elsewhere, unless the configuration says which.
func (a *app) logger(c configs.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the loader has checked the word
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" || c.Format != "text" && !a.errTTY {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}
