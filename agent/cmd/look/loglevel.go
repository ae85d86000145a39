package look

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/configs"
)

// maxHold bounds for how long another level may hold: a card is soon full of
// debug lines.
const maxHold = 24 * time.Hour

func (s *shared) logLevelCommand() *cli.Command {
	l := s.looker()
	var hold time.Duration
	cmd := &cli.Command{
		Use:   "log-level LEVEL",
		Short: "Let the running agent log more, or less, for a while",
		Long:  "Set the level of the running agent's log: debug, info, warn or error. After a while\nit goes back to the configuration's by itself.",
		Run: func(ctx context.Context, args []string) error {
			if len(args) != 1 || !slices.Contains(configs.LogLevels, args[0]) {
				return cli.Usagef("log-level needs one of %s", strings.Join(configs.LogLevels, ", "))
			}
			if hold <= 0 || hold > maxHold {
				return cli.Usagef("--for must be at most %v", maxHold)
			}
			return l.dial(ctx, func(c *control.Client) error {
				if err := c.SetLogLevel(ctx, args[0], hold); err != nil {
					return err
				}
				_, err := fmt.Fprintf(l.Out, l.Say("the agent logs %s for %v\n", "代理按 %s 记日志,持续 %v\n"), args[0], hold)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&l.config, "config", "c", l.defaultConfig, "the agent's configuration `FILE`")
	cmd.Flags().DurationVar(&hold, "for", 10*time.Minute, "for how `LONG`")
	return cmd
}
