//go:build !gateway

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/postgres"
	"scanrelay/uplink/central/identity"
)

func (a *app) centralCheckCommand() *cli.Command {
	var config string
	cmd := &cli.Command{
		Use:   "check -c FILE",
		Short: "Verify every page and value of the store of a centre that does not run",
		Long: "Verify every page and checksum of the store of a centre that does not run.\n" +
			"Nothing is changed: what is damaged is mended when the centre starts. With\n" +
			"PostgreSQL verify the sums of all rows that have one, also while centres run; its\n" +
			"own pg_amcheck looks at pages. What is encrypted under a data key that is missing is\n" +
			"told, too. Exit code 1 if anything is wrong.",
		Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			cfg, problems := configs.LoadCentral(config, a.Env)
			if err := a.problems(problems); err != nil {
				return err
			}
			if cfg.Store.Driver == driverPostgres {
				return a.checkRows(ctx, postgresOptions(cfg, nil))
			}
			return a.checkCentral(cfg.DataDir)
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "/etc/scanrelay/central.yaml", "the configuration `FILE`")
	return cmd
}

func (a *app) checkCentral(dir string) error {
	found := false
	problem := func(what string) {
		found = true
		fmt.Fprintln(a.Out, "PROBLEM "+what)
	}
	r, err := boltfile.CheckFolder(dir, problem)
	switch {
	case errors.Is(err, snapshot.ErrInUse):
		return fmt.Errorf("the centre is running: stop it first (%w)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no centre has run with this data_dir (%w)", dir, err)
	case err != nil:
		return err
	}
	if err := identity.CheckJournal(dir, problem); err != nil {
		return err
	}
	for _, name := range r.Aside {
		fmt.Fprintf(a.Out, "%s: set aside when it was mended\n", name)
	}
	if found {
		return cli.ErrShown
	}
	fmt.Fprintf(a.Out, "all good: %d waybills, %d records in the log\n", r.Waybills, r.Records)
	return nil
}

// checkRows checks a database, which centres may use.
func (a *app) checkRows(ctx context.Context, o postgres.Options) error {
	o.Migrate = false
	s, err := postgres.Open(ctx, o)
	if err != nil {
		return fmt.Errorf("store.dsn: %w", err)
	}
	defer s.Close() // it never fails
	n, err := s.Check(ctx)
	if err == nil {
		err = identity.CheckShared(ctx, s, s.NoteDamage)
	}
	if err != nil {
		return err
	}
	st, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	for _, what := range st.Damage {
		fmt.Fprintln(a.Out, "PROBLEM "+what)
	}
	if len(st.Damage) > 0 {
		return cli.ErrShown
	}
	fmt.Fprintf(a.Out, "all good: %d waybills\n", n)
	return nil
}
