package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"scanrelay/agent/clock"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/install"
	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/configs/serve"
	"scanrelay/store/durable"
)

// maker makes the commands.
type maker struct {
	cli.IO
	config  string    // where an agent's configuration lies
	version string    // this program's
	built   time.Time // when
}

// Commands returns launch and update; config is the agent's configuration, version and
// built are this program's.
func Commands(world cli.IO, config, version string, built time.Time) []*cli.Command {
	m := &maker{world, config, version, built}
	group := &cli.Command{Use: "update", Short: "See, apply, hold and take back updates of the agent"}
	group.Add(m.statusCommand(), m.checkCommand(), m.applyCommand(), m.backCommand(), m.holdCommand(), m.releaseCommand(), m.resetClockCommand(), m.installCommand())
	return []*cli.Command{m.launchCommand(), group}
}

// places are where versions and the agent's folder of updates lie.
type places struct {
	root, own string
	first     string // root of trust
}

func (p *places) flags(f *pflag.FlagSet) {
	f.StringVar(&p.root, "versions", record.RootFolder, "the `FOLDER` of the versions, which is root's")
	f.StringVar(&p.own, "state", record.OwnFolder, "the agent's `FOLDER` of updates")
}

// trusts is the flag of commands that verify.
func (p *places) trusts(f *pflag.FlagSet) {
	f.StringVar(&p.first, "root", firstRoot, "the `FILE` with the first keys that are trusted")
}

// asOwner has a command that root gives go on as the user whose the agent's folder is:
// what root wrote there the agent could not replace, and a link of that user's would lead
// root astray.
func (p *places) asOwner() error {
	info, err := os.Lstat(filepath.Dir(p.own))
	if os.Geteuid() != 0 || errors.Is(err, fs.ErrNotExist) { // else no agent has run yet
		return nil
	}
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(int(st.Gid)), syscall.Setuid(int(st.Uid))); err != nil {
		return fmt.Errorf("go on as the owner of %s: %w", filepath.Dir(p.own), err)
	}
	return nil
}

func (m *maker) logger() *slog.Logger { return slog.New(slog.NewTextHandler(m.Err, nil)) }

func (m *maker) launchCommand() *cli.Command {
	var p places
	var config string
	cmd := &cli.Command{
		Use:   "launch",
		Short: "Start the version of the agent that is to run",
		Long: "Start the version of the agent that is to run: the committed one, a candidate on\n" +
			"trial, in doubt the packaged one. It is for systemd, and for the packaged program:\n" +
			"scanrelay agent runs this version.",
		Args: cli.NoArgs,
		Run: func(context.Context, []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			now := clock.New(clock.Options{})
			l := &launch.Launcher{
				Root: record.Root(p.root), Own: record.Own(p.own), Packaged: m.version, Self: self, Exec: launch.Exec,
				Tell: serve.NewNotifier(m.Env, m.logger()).Tell, Log: m.logger(),
				Now: func() record.Moment {
					boot, at := now.Boot()
					return record.Moment{Boot: boot, At: at}
				},
			}
			return l.Run([]string{"agent", "-c", config}, m.Env)
		},
	}
	p.flags(cmd.Flags())
	cmd.Flags().StringVarP(&config, "config", "c", m.config, "the agent's configuration `FILE`")
	return cmd
}

func (m *maker) installCommand() *cli.Command {
	var p places
	cmd := &cli.Command{
		Use:    "install",
		Short:  "Do what the agent asks root for",
		Hidden: true, // the service's
		Args:   cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			i := &install.Installer{
				Root: record.Root(p.root), Own: record.Own(p.own), Packaged: m.version, PackagedFolder: record.PackagedFolder,
				Verifier: follow.Verifier{Root: record.Root(p.root), First: p.first, Packaged: m.version, Built: m.built, Log: m.logger()}, Log: m.logger(),
			}
			err := i.Run(ctx)
			if err != nil { // the request is still there, for which systemd starts this again
				select {
				case <-ctx.Done():
				case <-time.After(retryIn):
				}
			}
			return err
		},
	}
	p.flags(cmd.Flags())
	p.trusts(cmd.Flags())
	return cmd
}

// retryIn is how long root's part waits after it could not do what is asked for.
var retryIn = 10 * time.Second

// answerWithin is how long root's part may take.
const answerWithin = 2 * time.Minute

// await waits for root's answer.
func await(ctx context.Context, root record.Root, id string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return install.Await(ctx, root, id)
}

func (m *maker) backCommand() *cli.Command {
	var p places
	cmd := &cli.Command{
		Use:   "back",
		Short: "Go back to the version before",
		Long:  "Go back to the version that was committed before, or let the candidate go. The\nagent restarts by itself.",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			root, own := record.Root(p.root), record.Own(p.own)
			rec, err := root.Read()
			if err != nil {
				return fmt.Errorf("read the record of the versions: %w", err)
			}
			from, to := rec.Candidate, rec.Committed
			if from.IsPackaged() {
				from, to = rec.Committed, rec.Previous
			}
			if from.IsPackaged() {
				return errors.New("go back: the packaged version runs, there is none before it")
			}
			if err := p.asOwner(); err != nil {
				return err
			}
			id, err := own.Ask(record.OpBack, from)
			if err == nil {
				err = await(ctx, root, id)
			}
			if err != nil {
				return fmt.Errorf("go back from %s: %w", from.Version, err)
			}
			_, err = fmt.Fprintf(m.Out, m.Say("back from %s to %s\n", "已从 %s 退回 %s\n"), from.Version, m.name(to))
			return err
		},
	}
	p.flags(cmd.Flags())
	return cmd
}

// name is a version for people.
func (m *maker) name(r record.Release) string {
	if r.IsPackaged() {
		return m.Say("the packaged version", "软件包自带版本")
	}
	return r.Version
}

// maxHold bounds how long nothing is taken: what is longer is forgotten.
const maxHold = 30 * 24 * time.Hour

func (m *maker) holdCommand() *cli.Command {
	var p places
	var hold time.Duration
	cmd := &cli.Command{
		Use:   "hold",
		Short: "Let no trial begin for a while, as while a shift is on",
		Args:  cli.NoArgs,
		Run: func(context.Context, []string) error {
			if hold <= 0 || hold > maxHold {
				return cli.Usagef("--for must be at most %v", maxHold)
			}
			until := time.Now().Add(hold).Truncate(time.Second)
			own := record.Own(p.own)
			if err := p.asOwner(); err != nil {
				return err
			}
			if err := errors.Join(own.Make(), own.Hold(until)); err != nil {
				return fmt.Errorf("hold: %w", err)
			}
			_, err := fmt.Fprintf(m.Out, m.Say("nothing is taken until %s\n", "%s 之前不更新\n"), until.Local().Format("2006-01-02 15:04"))
			return err
		},
	}
	p.flags(cmd.Flags())
	cmd.Flags().DurationVar(&hold, "for", 8*time.Hour, "for how `LONG`")
	return cmd
}

func (m *maker) releaseCommand() *cli.Command {
	var p places
	cmd := &cli.Command{
		Use:   "release",
		Short: "End a hold",
		Args:  cli.NoArgs,
		Run: func(context.Context, []string) error {
			own := record.Own(p.own)
			if !durable.Exists(p.own) {
				return nil // nothing can be held
			}
			if err := p.asOwner(); err != nil {
				return err
			}
			if err := own.Hold(time.Time{}); err != nil {
				return fmt.Errorf("release: %w", err)
			}
			return nil
		},
	}
	p.flags(cmd.Flags())
	return cmd
}
