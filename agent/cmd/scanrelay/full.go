//go:build !gateway

package main

// fullCommands are those that the gateway build leaves out.
func (a *app) fullCommands() []*command {
	return []*command{a.centralCommand(), a.demoCommand()}
}
