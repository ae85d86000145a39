//go:build !gateway

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/central/identity"
	"scanrelay/wechat"
	"scanrelay/wechat/callback"
)

func (a *app) centralCommand() *cli.Command {
	var config string
	cmd := &cli.Command{
		Use:   "central -c FILE",
		Short: "Run the centre",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			a.standAlone()
			cfg, problems := configs.LoadCentral(config, a.Env)
			if err := a.problems(problems); err != nil {
				return err
			}
			logger := a.logger(cfg.Log)
			warn(logger, problems)
			return a.runCentral(ctx, config, cfg, logger)
		},
	}
	cmd.Add(a.centralCheckCommand(), a.centralMigrateCommand(), a.centralBackupCommand(), a.centralRestoreCommand(), a.centralRekeyCommand(), a.auditCommand())
	cmd.Flags().StringVarP(&config, "config", "c", "/etc/scanrelay/central.yaml", "the configuration `FILE`")
	return cmd
}

// collectLate is collectEarly for a centre, which has memory to spare: lookups leave
// little in use and much garbage. Above the limit garbage is collected as it comes.
const (
	collectLate = 400
	memoryLimit = 2 << 30 // bytes
)

func (a *app) runCentral(ctx context.Context, file string, cfg *configs.Central, logger *slog.Logger) (err error) {
	collectAt(collectLate)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if err := ownedByUs(cfg.DataDir, os.Geteuid()); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	snap, err := openSnapshot(ctx, cfg, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	parts, err := openIdentities(ctx, cfg, snap, logger)
	if err != nil {
		return fmt.Errorf("data_dir %s: %w", cfg.DataDir, err)
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	c, err := a.newCentral(cfg, snap, parts, logger)
	if err != nil {
		return err
	}
	ls, err := listenCentral(cfg, logger)
	if err != nil {
		return err
	}
	key := cfg.Store.Key
	a.reload = func() { key = a.reloadCentral(ctx, c, snap, file, cfg, key, logger) }
	ready := make(chan struct{})
	close(ready)
	logger.Info("central runs", "listen", ls.http.Addr().String(), "version", thisBuild().Version, "data_dir", cfg.DataDir)
	return a.serve(ctx, logger, ready, func() error { return snap.Health(ctx) }, func(ctx context.Context) error {
		parts := serve.NewGroup()
		if ls.local != nil {
			parts.Start("local socket", func(ctx context.Context) error {
				return serve.HTTP(ctx, serve.Peers{Listener: ls.local}, c.Local(), logger, serve.Few(), centralGrace)
			})
		}
		parts.Start("centre", c.Run)
		parts.Start("http", func(ctx context.Context) error {
			return serve.HTTP(ctx, ls.http, c.Handler(), logger, serve.Many(), centralGrace)
		})
		if ls.ops != nil {
			parts.Start("operators' http", func(ctx context.Context) error {
				return serve.HTTP(ctx, ls.ops, c.Ops(), logger, serve.Few(), centralGrace)
			})
		}
		return parts.Run(ctx)
	})
}

// centralListeners are what a centre serves on; local and ops may be nil.
type centralListeners struct{ local, http, ops net.Listener }

// listenCentral opens them, all or none.
func listenCentral(cfg *configs.Central, logger *slog.Logger) (ls centralListeners, err error) {
	defer func() {
		for _, ln := range []net.Listener{ls.local, ls.http, ls.ops} {
			if err != nil && ln != nil {
				_ = ln.Close() // nothing was served on it
			}
		}
	}()
	conf, err := cfg.TLS.Config(tls.VerifyClientCertIfGiven)
	if err != nil {
		return ls, fmt.Errorf("tls: %w", err)
	}
	local, err := listenSocket(centralSocket(cfg.DataDir))
	if err != nil { // as on a disk that is read only
		logger.Warn("no local socket: scanrelay depot and central audit need --url", "error", err)
	} else {
		ls.local = local
	}
	if ls.http, err = listen("listen", cfg.Listen); err != nil {
		return ls, err
	}
	if conf != nil {
		conf.NextProtos = []string{"h2", "http/1.1"}
		ls.http = tls.NewListener(ls.http, conf)
	}
	if cfg.OpsListen != "" {
		ls.ops, err = listen("ops_listen", cfg.OpsListen)
	}
	return ls, err
}

// centralGrace is how long requests may go on after the stop began; it leaves
// the rest of ten seconds to the store.
const centralGrace = 6 * time.Second

func (a *app) newCentral(cfg *configs.Central, snap snapshot.Store, parts *identities, logger *slog.Logger) (*central.Central, error) {
	we, err := wechat.NewClient(wechat.Options{BaseURL: cfg.WeChat.BaseURL, Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("wechat: %w", err)
	}
	set := metrics.NewSet()
	copies, err := openCopies(cfg, snap, parts.audit, set, logger)
	if err != nil {
		return nil, err
	}
	return central.New(central.Options{
		Config: centralConfig(cfg), Snapshot: snap, WeChat: we, Version: thisBuild().Version, Logger: logger,
		WeChatTime: we.Time,
		LogDropped: a.stderr.Dropped, Identities: parts.store, Documents: parts.table, Shared: parts.shared, Ended: parts.ended, Audit: parts.audit,
		Backup: copies, Metrics: set, CheckConfig: checkRemote,
	})
}

// identities are the files of the depots that are added at run time, and the audit
// log.
type identities struct {
	store identity.Store
	table documents.Table // of what other rooms keep
	// shared is what processes tell each other; nil: there is one.
	shared central.Shared
	ended  *identity.Ended
	audit  *audit.Log
	close  func() error
}

// openIdentities opens them beside a snapshot: in its database, where it has one that
// several processes share.
func openIdentities(ctx context.Context, cfg *configs.Central, snap snapshot.Store, logger *slog.Logger) (*identities, error) {
	parts := &identities{ended: identity.OpenEnded(cfg.DataDir), close: func() error { return nil }}
	var err error
	if table, ok := snap.(documents.Table); ok {
		parts.table = table
		parts.shared, _ = snap.(central.Shared)
		parts.store, err = identity.OpenShared(ctx, table)
	} else {
		var journal *identity.Journal
		if journal, err = identity.OpenJournal(cfg.DataDir, logger); err == nil {
			parts.store, parts.table, parts.close = journal, journal, journal.Close
		}
	}
	if err != nil {
		return nil, err
	}
	parts.audit = audit.Open(cfg.DataDir, time.Now)
	return parts, nil
}

func (i *identities) Close() error { return errors.Join(i.close(), i.audit.Close()) }

// centralSocket is where operators on the centre's machine call it.
func centralSocket(dataDir string) string { return filepath.Join(dataDir, "central.sock") }

// reloadCentral puts a changed configuration in use, as far as that goes without a
// restart. One with errors changes nothing. key is store.key that is in use; it returns the
// one that is then.
func (a *app) reloadCentral(ctx context.Context, c *central.Central, snap snapshot.Store, file string, was *configs.Central, key secret.Text, logger *slog.Logger) secret.Text {
	const kept = "configuration not reloaded: the one before stays in use"
	cfg, problems := configs.LoadCentral(file, a.Env)
	if problems.Failed() {
		for _, p := range problems.Errors() {
			logger.Error(kept, "problem", p.String())
		}
		return key
	}
	warn(logger, problems)
	keyed := snap.(interface{ UseKey(secret.Text) error }) // both stores have it
	if err := keyed.UseKey(cfg.Store.Key); err != nil {
		logger.Error(kept, "problem", err)
		return key
	}
	if err := c.Reload(ctx, centralConfig(cfg)); err != nil {
		logger.Error(kept, "problem", errors.Join(err, keyed.UseKey(key)))
		return key
	}
	a.setLevel(cfg.Log)
	logger.Info("configuration reloaded", "file", file, "depots", len(cfg.Depots), "operators", len(cfg.Operators))
	if keys := cfg.NeedRestart(was); len(keys) > 0 {
		logger.Warn("some changes need a restart and are not in use", "keys", keys)
	}
	return cfg.Store.Key
}

// centralConfig converts the configuration to the centre's own.
func centralConfig(c *configs.Central) central.Config {
	cb := c.WeChat.Callback
	out := central.Config{
		AppID: c.WeChat.AppID, Secret: c.WeChat.Secret, SecretOld: c.WeChat.SecretOld, Rate: c.WeChat.Rate,
		Callback: central.Callback{
			Path: cb.Path, Token: cb.Token, EncodingAESKey: cb.EncodingAESKey, TokenOld: cb.TokenOld, EncodingAESKeyOld: cb.EncodingAESKeyOld,
			Mode: callback.Mode(cb.Mode), SwapNames: cb.SwapNames, MaxSkew: cb.MaxSkew,
		},
		AdminToken: c.AdminToken, Origins: c.Origins, EnrolValid: c.Identity.EnrolValid, Session: c.Identity.Session, PerWaybill: central.Limit(c.JSONP.PerWaybill),
		PerAddress: central.Limit(c.JSONP.PerAddress), Retain: c.Retain, TrustedProxies: c.TrustedProxies,
		OpsApart: c.OpsListen != "", Updates: central.Updates(c.Updates),
	}
	for _, d := range c.Depots {
		out.Depots = append(out.Depots, central.Depot(d))
	}
	for _, o := range c.Operators {
		out.Operators = append(out.Operators, caller.Operator{Name: o.Name, Token: o.Token, Role: caller.Role(o.Role)})
	}
	for _, cell := range c.Cells {
		out.Cells = append(out.Cells, central.Cell(cell))
	}
	return out
}
