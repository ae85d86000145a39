//go:build !gateway

package main

import (
	"context"
	"errors"
	"fmt"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/postgres"
)

func (a *app) centralRekeyCommand() *cli.Command {
	var config, file string
	cmd := &cli.Command{
		Use:   "rekey -c FILE --new-key-file F",
		Short: "Put the centre's data keys under another master key",
		Long: "Wrap the data keys of the centre's store under another master key, the first line of\n" +
			"F: afterwards the old one is not needed any more but for older backups. With\n" +
			"PostgreSQL all processes go on, and must know the new key: put it into store.key_file\n" +
			"beside the old one and reload them before. A centre on bbolt is stopped before. What\n" +
			"is encrypted under the data keys stays as it is. Killed, it is run again.",
		Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			if file == "" {
				return cli.Usagef("--new-key-file is missing: openssl rand -hex 32 makes a key")
			}
			cfg, problems := configs.LoadCentral(config, a.Env)
			if err := a.problems(problems); err != nil {
				return err
			}
			return a.rekey(ctx, cfg, file)
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "/etc/scanrelay/central.yaml", "the configuration `FILE`")
	cmd.Flags().StringVar(&file, "new-key-file", "", "the `FILE` with the new master key, 64 hex digits")
	return cmd
}

func (a *app) rekey(ctx context.Context, cfg *configs.Central, file string) error {
	next, err := masterkey.Read(file, datakey.Credential)
	if err != nil {
		return fmt.Errorf("--new-key-file: %w", err)
	}
	dir := cfg.DataDir
	if cfg.Store.Driver == driverPostgres {
		dir = ""
	}
	old, err := datakey.Masters(cfg.Store.Key, dir, false)
	if err != nil {
		return err
	}
	masters := append(next[:1:1], old...)
	var n int
	if cfg.Store.Driver == driverPostgres {
		n, err = postgres.Rekey(ctx, postgresOptions(cfg, a.logger(cfg.Log)), masters)
	} else {
		n, err = boltfile.Rekey(dir, masters)
	}
	switch {
	case errors.Is(err, snapshot.ErrInUse):
		return fmt.Errorf("the centre is running: stop it first (%w)", err)
	case err != nil:
		return fmt.Errorf("rekey: %w", err)
	}
	_, err = fmt.Fprintf(a.Out, "%d keys were wrapped anew: all are under the key of %s now.\n"+
		"Make that the first line of store.key_file, and keep a copy elsewhere. The old one is needed for older backups alone.\n", n, file)
	return err
}
