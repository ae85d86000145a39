//go:build !gateway

package main

import (
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/cmd/release"
)

// fullCommands are those that the gateway build leaves out.
func (a *app) fullCommands() []*cli.Command {
	return []*cli.Command{a.centralCommand(), a.depotCommand(), a.rolloutCommand(), a.demoCommand(), release.Command(a.IO)}
}
