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
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/configs/serve"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink/central"
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
			cfg, problems := configs.LoadCentral(config, a.Env)
			if err := a.problems(problems); err != nil {
				return err
			}
			logger := a.logger(cfg.Log)
			warn(logger, problems)
			return a.runCentral(ctx, cfg, logger)
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "/etc/scanrelay/central.yaml", "the configuration `FILE`")
	return cmd
}

func (a *app) runCentral(ctx context.Context, cfg *configs.Central, logger *slog.Logger) (err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	snap, err := bolt.Open(cfg.DataDir, bolt.Options{Logger: logger})
	if err != nil {
		return fmt.Errorf("data_dir %s: %w", cfg.DataDir, err)
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	c, err := newCentral(cfg, snap, logger)
	if err != nil {
		return err
	}
	ln, err := a.listenCentral(cfg)
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	close(ready)
	logger.Info("central runs", "listen", ln.Addr().String(), "version", thisBuild().Version, "data_dir", cfg.DataDir)
	return a.serve(ctx, logger, ready, func() error { return snap.Health(ctx) }, func(ctx context.Context) error {
		parts := serve.NewGroup()
		parts.Start("centre", c.Run)
		parts.Start("http", func(ctx context.Context) error {
			return serve.HTTP(ctx, ln, c.Handler(), logger, centralGrace)
		})
		return parts.Run(ctx)
	})
}

func (a *app) listenCentral(cfg *configs.Central) (net.Listener, error) {
	conf, err := cfg.TLS.Config(tls.VerifyClientCertIfGiven)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	ln, err := listen("listen", cfg.Listen)
	if err != nil || conf == nil {
		return ln, err
	}
	conf.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(ln, conf), nil
}

// centralGrace is how long requests may go on after the stop began; it leaves
// the rest of ten seconds to the store.
const centralGrace = 6 * time.Second

func newCentral(cfg *configs.Central, snap snapshot.Store, logger *slog.Logger) (*central.Central, error) {
	we, err := wechat.NewClient(wechat.Options{BaseURL: cfg.WeChat.BaseURL, Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("wechat: %w", err)
	}
	return central.New(central.Options{
		Config: centralConfig(cfg), Snapshot: snap, WeChat: we, Version: thisBuild().Version, Logger: logger,
	})
}

// centralConfig converts the configuration to the centre's own.
func centralConfig(c *configs.Central) central.Config {
	cb := c.WeChat.Callback
	out := central.Config{
		AppID: c.WeChat.AppID, Secret: c.WeChat.Secret, Rate: c.WeChat.Rate,
		Callback: central.Callback{
			Path: cb.Path, Token: cb.Token, EncodingAESKey: cb.EncodingAESKey,
			Mode: callback.Mode(cb.Mode), SwapNames: cb.SwapNames, MaxSkew: cb.MaxSkew,
		},
		AdminToken: c.AdminToken, PerWaybill: central.Limit(c.JSONP.PerWaybill),
		PerAddress: central.Limit(c.JSONP.PerAddress), Retain: c.Retain, TrustedProxies: c.TrustedProxies,
	}
	for _, d := range c.Depots {
		out.Depots = append(out.Depots, central.Depot(d))
	}
	for _, cell := range c.Cells {
		out.Cells = append(out.Cells, central.Cell(cell))
	}
	return out
}
