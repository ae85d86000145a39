//go:build !gateway

package main

import (
	"context"
	"fmt"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/demo"
	"scanrelay/wechat/fake"
)

func (a *app) demoCommand() *cli.Command {
	var o demo.Options
	var addr, faults string
	cmd := &cli.Command{
		Use:   "demo",
		Short: "Run everything on this machine, with a simulated WeChat and scanners",
		Long: "Run everything on this machine, with a simulated WeChat and scanners. With --rollout\n" +
			"a release goes out to a simulated fleet instead, on the fleet page of a real centre,\n" +
			"half a minute in each second: a bad one is halted and goes back.",
		Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			if o.Duration < 0 || o.Offline < 0 || o.Parcels < 1 {
				return cli.Usagef("--duration and --offline must not be negative, --parcels must be at least 1")
			}
			if o.Rollout != "" && o.Rollout != demo.Good && o.Rollout != demo.Bad || o.Depots < 20 || o.Depots > 2000 {
				return cli.Usagef("--rollout is good or bad, --depots 20 to 2000")
			}
			if faults != "" {
				script, err := fake.LoadScript(faults)
				if err != nil {
					return err
				}
				o.Faults = script
			}
			ln, err := listen("--listen", addr)
			if err != nil {
				return err
			}
			o.Listen, o.Out, o.Version = ln, a.Out, thisBuild().Version
			return demo.Run(ctx, o)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.Duration, "duration", 0, fmt.Sprintf("scan for this long, then drain for at most %.0f minutes and end; 0: until Ctrl-C", demo.DrainLimit.Minutes()))
	f.IntVar(&o.Parcels, "parcels", 200, "how many parcels in all")
	f.DurationVar(&o.Offline, "offline", 0, "cut the uplink for this long")
	f.StringVar(&o.Rollout, "rollout", "", "show how a release goes out: `good` or bad")
	f.IntVar(&o.Depots, "depots", 200, "how many simulated depots, with --rollout")
	f.StringVar(&faults, "wechat-faults", "", "a `FILE` that says how the simulated WeChat misbehaves")
	f.StringVar(&addr, "listen", "127.0.0.1:8088", "the `ADDR` where the page is served")
	return cmd
}
