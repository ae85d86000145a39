package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"

	"scanrelay/agent"
	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/trial"
	"scanrelay/configs"
	"scanrelay/configs/serve"
	"scanrelay/store/durable"
)

func (a *app) agentCommand() *cli.Command {
	var config string
	cmd := &cli.Command{
		Use:   "agent -c FILE",
		Short: "Run the depot agent",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			a.standAlone()
			a.stderr.Keep(keptLines)
			launched, err := launch.FromEnv(a.Env)
			if err != nil {
				return err
			}
			cfg, problems := configs.LoadAgent(config, a.Env)
			if err := a.problems(problems); err != nil {
				if launched != nil { // a mistake in the configuration is not this version's
					err = errors.Join(err, trial.Excuse(launched))
				}
				return err
			}
			logger := a.logger(cfg.Log)
			warn(logger, problems)
			return a.runAgent(ctx, config, cfg, launched, logger)
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", defaultConfig, "the configuration `FILE`")
	return cmd
}

// collectEarly is how much garbage, in percent of what is in use, an agent lets
// pile up. A gateway has more processor to spare than memory: with 100,000 scans
// coming in at full speed this is 25 MiB instead of 35.
const collectEarly = 50

// keptLines is how many lines of the log an agent keeps for a bundle.
const keptLines = 2000

// collectAt sets how much garbage piles up, unless the environment says: then
// somebody knows better.
func collectAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

func (a *app) runAgent(ctx context.Context, file string, cfg *configs.Agent, launched *launch.Launched, logger *slog.Logger) error {
	collectAt(collectEarly)
	ctx, restart := context.WithCancel(ctx)
	defer restart()
	var update *agent.Update
	if launched != nil {
		update = &agent.Update{
			Launched: *launched, Restart: restart, Tell: serve.NewNotifier(a.Env, logger).Tell,
			First: filepath.Join(filepath.Dir(file), filepath.Base(follow.FirstRoot)), // beside the configuration
		}
	}
	if err := ownedByUs(cfg.DataDir, os.Geteuid()); err != nil {
		return err
	}
	b := thisBuild()
	files := &sourceFiles{app: a, file: file, dataDir: cfg.DataDir, logger: logger}
	var ag *agent.Agent
	configure := func(given []byte) error { return a.configure(ag, file, given, logger) }
	ag, err := agent.New(cfg, agent.Options{
		Version: b.Version, Built: b.built(), Logger: logger, LogDropped: a.stderr.Dropped, LogLevel: a.level.hold, Log: a.stderr.Recent, Abort: a.abort, Update: update, Sources: files, Chinese: chinese.Of, Configure: configure,
		Listen: func() (agent.Listeners, error) { return listenAgent(cfg, logger) },
	})
	if err != nil {
		return err
	}
	files.agent = ag
	a.reload = func() { a.reloadAgent(ag, file, logger) }
	return a.serve(ctx, logger, ag.Ready(), ag.Live, ag.Run)
}

// reloadAgent puts a changed configuration in use, as far as that goes without a
// restart. One with errors changes nothing.
func (a *app) reloadAgent(ag *agent.Agent, file string, logger *slog.Logger) {
	const kept = "configuration not reloaded: the one before stays in use"
	a.reloading.Lock()
	defer a.reloading.Unlock()
	cfg, problems := configs.LoadAgent(file, a.Env, a.given...)
	if problems.Failed() {
		for _, p := range problems.Errors() {
			logger.Error(kept, "problem", p.String())
		}
		return
	}
	if err := a.apply(ag, file, cfg, problems, logger); err != nil {
		logger.Error(kept, "problem", err)
	}
}

// configure puts in use what the centre gave, on trial until it is called again: nil is
// what data_dir has of it.
func (a *app) configure(ag *agent.Agent, file string, given []byte, logger *slog.Logger) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	var remote [][]byte
	if given != nil {
		remote = [][]byte{given}
	} else {
		a.given = nil // a reload is not to bring it back, whatever becomes of this
	}
	cfg, problems := configs.LoadAgent(file, a.Env, remote...)
	if errs := problems.Errors(); len(errs) > 0 {
		return errors.New(errs[0].String())
	}
	if err := a.apply(ag, file, cfg, problems, logger); err != nil {
		return err
	}
	a.given = remote
	return nil
}

// apply puts a configuration in use that is right.
func (a *app) apply(ag *agent.Agent, file string, cfg *configs.Agent, problems configs.Problems, logger *slog.Logger) error {
	restart, err := ag.Reload(cfg)
	if err != nil {
		return err
	}
	warn(logger, problems)
	a.setLevel(cfg.Log)
	logger.Info("configuration reloaded", "file", file, "sources", len(cfg.Sources), "stations", len(cfg.Stations))
	if len(restart) > 0 {
		logger.Warn("some changes need a restart and are not in use", "keys", restart)
	}
	return nil
}

// listenAgent opens what an agent serves on, all or none.
func listenAgent(cfg *configs.Agent, logger *slog.Logger) (ls agent.Listeners, err error) {
	defer func() {
		if err != nil {
			ls.Close()
			ls = agent.Listeners{}
		}
	}()
	if ls.Control, err = listenControl(cfg.DataDir); durable.NoSpace(err) {
		logger.Error("commands do not reach this agent before it is restarted", "error", err) // what was taken drains all the same
	} else if err != nil {
		return ls, err
	}
	if cfg.HTTP.Listen != "" {
		if ls.HTTP, err = listenHTTP(cfg.HTTP); err != nil {
			return ls, err
		}
	}
	if !cfg.MQTT.IsEmbedded() {
		return ls, nil
	}
	for _, l := range cfg.MQTT.Listeners() {
		ln, err := listen(l.Key, l.Listen)
		if err != nil {
			return ls, err
		}
		ls.MQTT = append(ls.MQTT, ln)
	}
	return ls, nil
}

// listenHTTP opens the depot page's listener.
func listenHTTP(h configs.HTTP) (net.Listener, error) {
	conf, err := h.TLS.Config(tls.RequireAndVerifyClientCert)
	if err != nil {
		return nil, fmt.Errorf("http.tls: %w", err)
	}
	ln, err := listen("http.listen", h.Listen)
	if err == nil && conf != nil {
		conf.NextProtos = []string{"http/1.1"}
		ln = tls.NewListener(ln, conf)
	}
	return ln, err
}

// serve runs a role as a service: systemd hears how it is doing, and a SIGHUP
// reloads or does nothing.
func (a *app) serve(ctx context.Context, logger *slog.Logger, ready <-chan struct{}, live func() error, run func(context.Context) error) error {
	// The roots are read once, for good: by the first https call, which may find no
	// descriptor, and then every one would fail until a restart.
	_, _ = x509.SystemCertPool() // the call says what is wrong
	defer serve.NewNotifier(a.Env, logger).Accompany(ctx, ready, live)()
	defer a.hangups(func() {
		if a.reload == nil {
			logger.Warn("SIGHUP: the configuration is not reloaded; restart to use a changed one")
			return
		}
		a.reload()
	})()
	return run(ctx)
}

// problems prints what makes a configuration unusable, a line each.
func (a *app) problems(ps configs.Problems) error {
	if !ps.Failed() {
		return nil
	}
	for _, p := range ps {
		fmt.Fprintln(a.Err, chinese.Problem(a.IO, p))
	}
	return cli.ErrShown
}

// warn logs what is suspicious in a configuration that is used.
func warn(logger *slog.Logger, ps configs.Problems) {
	for _, p := range ps.Warnings() {
		logger.Warn("configuration", "problem", p.String())
	}
}
