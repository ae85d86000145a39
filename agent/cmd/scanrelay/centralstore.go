//go:build !gateway

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/store/snapshot/postgres"
)

// openSnapshot opens the centre's store. One that is a database which is away is
// waited for.
func openSnapshot(ctx context.Context, cfg *configs.Central, logger *slog.Logger) (snapshot.Store, error) {
	if cfg.Store.Driver == driverPostgres {
		s, err := postgres.Open(ctx, postgresOptions(cfg, logger))
		if err != nil {
			return nil, fmt.Errorf("store.dsn: %w", err)
		}
		return s, nil
	}
	s, err := bolt.Open(cfg.DataDir, boltOptions(cfg, logger))
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", cfg.DataDir, err)
	}
	return s, nil
}

const driverPostgres = "postgres"

func postgresOptions(cfg *configs.Central, logger *slog.Logger) postgres.Options {
	return postgres.Options{
		DSN: cfg.Store.DSN.Reveal(), MaxConns: cfg.Store.MaxConns, Migrate: cfg.Store.Migrate, Key: cfg.Store.Key, Logger: logger,
	}
}

func boltOptions(cfg *configs.Central, logger *slog.Logger) bolt.Options {
	return bolt.Options{Key: cfg.Store.Key, Logger: logger}
}

func (a *app) centralMigrateCommand() *cli.Command {
	var config string
	var check bool
	cmd := &cli.Command{
		Use:   "migrate -c FILE",
		Short: "Bring the schema of the centre's database up to date",
		Long: "Bring the schema of the centre's PostgreSQL up to date, and print each step. Other\n" +
			"processes of the centre may run. A schema of a newer scanrelay is refused. With\n" +
			"--check nothing is changed: exit code 1 if it is behind.",
		Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			cfg, problems := configs.LoadCentral(config, a.Env)
			if err := a.problems(problems); err != nil {
				return err
			}
			if cfg.Store.Driver != driverPostgres {
				return fmt.Errorf("store.driver is %s, which has no schema: only postgres has one", cfg.Store.Driver)
			}
			return a.migrate(ctx, postgresOptions(cfg, a.logger(cfg.Log)), check)
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "/etc/scanrelay/central.yaml", "the configuration `FILE`")
	cmd.Flags().BoolVar(&check, "check", false, "only tell whether it is behind")
	return cmd
}

func (a *app) migrate(ctx context.Context, o postgres.Options, check bool) error {
	if check {
		switch n, err := postgres.Behind(ctx, o); {
		case err != nil:
			return err
		case n > 0:
			return fmt.Errorf("the schema is %d of %d steps behind: run scanrelay central migrate", n, postgres.Schema)
		}
		_, err := fmt.Fprintf(a.Out, "the schema is up to date: %d\n", postgres.Schema)
		return err
	}
	var shown error
	n, err := postgres.Migrate(ctx, o, func(step string) {
		_, err := fmt.Fprintln(a.Out, step)
		shown = errors.Join(shown, err)
	})
	if err == nil && n == 0 {
		_, err = fmt.Fprintf(a.Out, "the schema is up to date: %d\n", postgres.Schema)
	}
	return errors.Join(err, shown)
}
