package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/configs"
	"scanrelay/store/durable"
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
	durable.OnShortage(func(err error) {
		logger.Error("no further file can be opened: what needs one waits", "error", err)
	})
	return logger
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

// maxHold bounds for how long another level may hold: a card is soon full of
// debug lines.
const maxHold = 24 * time.Hour

func (a *app) logLevelCommand() *cli.Command {
	l := &looker{app: a}
	var hold time.Duration
	cmd := &cli.Command{
		Use:   "log-level LEVEL",
		Short: "Let the running agent log more, or less, for a while",
		Long:  "Set the level of the running agent's log: debug, info, warn or error. After a while\nit goes back to the configuration's by itself.",
		Run: func(ctx context.Context, args []string) error {
			if len(args) != 1 || !slices.Contains(configs.LogLevels, args[0]) {
				return cli.Usagef("log-level needs one of %s", strings.Join(configs.LogLevels, ", "))
			}
			if hold <= 0 || hold > maxHold {
				return cli.Usagef("--for must be at most %v", maxHold)
			}
			return l.dial(ctx, func(c *control.Client) error {
				if err := c.SetLogLevel(ctx, args[0], hold); err != nil {
					return err
				}
				_, err := fmt.Fprintf(l.Out, "the agent logs %s for %v\n", args[0], hold)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&l.config, "config", "c", defaultConfig, "the agent's configuration `FILE`")
	cmd.Flags().DurationVar(&hold, "for", 10*time.Minute, "for how `LONG`")
	return cmd
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
