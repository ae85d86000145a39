//go:build !gateway

package main

import "github.com/spf13/cobra"

// fullCommands are those that the gateway build leaves out.
func (a *app) fullCommands() []*cobra.Command {
	return []*cobra.Command{a.centralCommand(), a.demoCommand()}
}
