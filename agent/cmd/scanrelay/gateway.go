//go:build gateway

package main

import "context"

// fullCommands is empty in what depots install; central and demo are in the
// full build.
func (a *app) fullCommands() []*command {
	missing := func(name string) *command {
		return &command{
			use: name, hidden: true, raw: true,
			run: func(context.Context, []string) error {
				return usagef("this is the gateway build, which has no %s; the full build has it", name)
			},
		}
	}
	return []*command{missing("central"), missing("demo")}
}
