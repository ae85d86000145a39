package look

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/configs"
)

// shared is what all commands here have.
type shared struct {
	cli.IO
	defaultConfig string // where an agent's configuration lies unless -c says so
	version       string
}

func (s *shared) looker() *looker { return &looker{shared: s} }

// Commands are those that look into an agent, running or not, and change what it holds.
func Commands(io cli.IO, defaultConfig, version string) []*cli.Command {
	s := &shared{io, defaultConfig, version}
	return []*cli.Command{
		s.statusCommand(), s.traceCommand(), s.eventsCommand(), s.deadletterCommand(), s.quarantineCommand(), s.storeCommand(), s.logLevelCommand(),
	}
}

// looker are the flags of commands that look into an agent.
type looker struct {
	*shared
	config string
	json   bool
	reveal bool
	pick   pick
}

func (l *looker) flags(cmd *cli.Command, reveal bool) {
	cmd.Flags().StringVarP(&l.config, "config", "c", l.defaultConfig, "the agent's configuration `FILE`")
	cmd.Flags().BoolVar(&l.json, "json", false, "print JSON")
	if reveal {
		cmd.Flags().BoolVar(&l.reveal, "reveal", false, "show personal data unmasked")
	}
}

// agentOf reads what it takes to find an agent. What else may be wrong with its
// configuration doesn't matter here: secrets may be unreadable for a person who
// may well look.
func (l *looker) agentOf() (*configs.Agent, error) {
	cfg, problems := configs.LoadAgent(l.config, l.Env)
	for _, p := range problems.Errors() {
		if p.Key == "" || p.Key == "data_dir" || strings.HasPrefix(p.Key, "data_dir.") {
			return nil, errors.New(chinese.Problem(l.IO, p))
		}
	}
	return cfg, nil
}

// look opens the agent, running or not, for as long as show takes.
func (l *looker) look(ctx context.Context, show func(control.View) error) error {
	cfg, err := l.agentOf()
	if err != nil {
		return err
	}
	v, err := control.Open(ctx, cfg.DataDir, cfg.Depot.ID, l.version)
	if err != nil {
		return err
	}
	defer v.Close()
	return show(v)
}

// dial reaches the running agent for as long as do takes; changing something
// needs one.
func (l *looker) dial(ctx context.Context, do func(*control.Client) error) error {
	cfg, err := l.agentOf()
	if err != nil {
		return err
	}
	c, err := control.Dial(ctx, cfg.DataDir)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// note tells on stderr, when a person reads, that no agent runs.
func (l *looker) note(v control.View) {
	if !v.Running() && !l.json {
		fmt.Fprintln(l.Err, l.Say("(the agent is not running; this is what its store holds)", "(代理没有运行;以下是它的存储里的内容)"))
	}
}
