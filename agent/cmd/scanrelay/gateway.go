//go:build gateway

package main

import (
	"context"

	"scanrelay/agent/cmd/cli"
)

// fullCommands is empty in what depots install; central, depot, rollout, demo and release
// are in the full build.
func (a *app) fullCommands() []*cli.Command {
	missing := func(name string) *cli.Command {
		return &cli.Command{
			Use: name, Hidden: true, Raw: true,
			Run: func(context.Context, []string) error {
				return cli.Usagef("this is the gateway build, which has no %s; the full build has it", name)
			},
		}
	}
	return []*cli.Command{missing("central"), missing("depot"), missing("rollout"), missing("demo"), missing("release")}
}
