//go:build gateway

package main

import "github.com/spf13/cobra"

// fullCommands is empty in what depots install; central and demo are in the
// full build.
func (a *app) fullCommands() []*cobra.Command {
	missing := func(name string) *cobra.Command {
		return &cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true, Args: cobra.ArbitraryArgs,
			RunE: func(*cobra.Command, []string) error {
				return usagef("this is the gateway build, which has no %s; the full build has it", name)
			},
		}
	}
	return []*cobra.Command{missing("central"), missing("demo")}
}
