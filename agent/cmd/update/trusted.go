package update

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/install"
	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trust"
)

// firstRoot holds the first keys that are trusted, which whoever publishes releases gives
// with the gateway.
const firstRoot = follow.FirstRoot

func (m *maker) applyCommand() *cli.Command {
	var p places
	cmd := &cli.Command{
		Use:   "apply BUNDLE",
		Short: "Install a release from a file, as from a USB stick",
		Long: "Verify a bundle that scanrelay release bundle made, and have root install what comes\n" +
			"next on the way to its release. The agent tries it once the centre is reached, at a\n" +
			"quiet moment, and goes back by itself if it does not do well.",
		Args: cli.Exactly(1, "one BUNDLE"),
		Run:  func(ctx context.Context, args []string) error { return m.apply(ctx, p, args[0]) },
	}
	p.flags(cmd.Flags())
	p.trusts(cmd.Flags())
	return cmd
}

func (m *maker) apply(ctx context.Context, p places, file string) error {
	root, own := record.Root(p.root), record.Own(p.own)
	rec, err := root.Read()
	if err != nil {
		return fmt.Errorf("read the record of the versions: %w", err)
	}
	known, err := follow.Known(rec.Trust, p.first, m.built)
	if err != nil {
		return err
	}
	bundle, err := trust.OpenBundle(file)
	if err != nil {
		return err
	}
	defer bundle.Close()
	witness := follow.Witness{From: bundle}
	verified, err := trust.Verify(ctx, &witness, known, time.Time{})
	if err != nil {
		return err
	}
	goos, goarch, goarm := follow.Machine()
	target, err := bundle.Limit(verified).Choose(follow.Program, goos, goarch, goarm, follow.Runs(rec, m.version), "")
	if err != nil {
		return err
	}
	if slices.Contains(rec.Barred, target.SHA256) {
		return fmt.Errorf("%s was tried here and is bad: it is never taken again", target.Version)
	}
	metadata, err := witness.Bundle()
	if err != nil {
		return err
	}
	if err := p.asOwner(); err != nil { // all that only root may read has been opened
		return err
	}
	id, err := install.Stage(own, metadata, time.Time{}, func(path string) error {
		return trust.Fetch(ctx, bundle, target, path, trust.Options{})
	})
	if err == nil {
		err = await(ctx, root, id)
	}
	if err != nil {
		return fmt.Errorf("apply %s: %w", target.Version, err)
	}
	_, err = fmt.Fprintf(m.Out, m.Say("%s is installed; the agent tries it at the next quiet moment\n", "%s 已装好,等到空闲时试用\n"), target.Version)
	return err
}

func (m *maker) resetClockCommand() *cli.Command {
	var p places
	cmd := &cli.Command{
		Use:   "reset-clock",
		Short: "Judge expiry by the build's date again, after a time that was wrong (root)",
		Args:  cli.NoArgs,
		Run: func(context.Context, []string) error {
			root := record.Root(p.root)
			rec, err := root.Read()
			if err != nil {
				return fmt.Errorf("read the record of the versions: %w", err)
			}
			known, err := follow.Known(rec.Trust, p.first, m.built)
			if err != nil {
				return err
			}
			known.Floor = m.built
			if rec.Trust, err = json.Marshal(known); err == nil {
				err = root.Write(rec)
			}
			if err != nil {
				return fmt.Errorf("reset the clock: %w", err)
			}
			_, err = fmt.Fprintf(m.Out, "expiry is judged by %s\n", m.built.UTC().Format(time.RFC3339))
			return err
		},
	}
	p.flags(cmd.Flags())
	p.trusts(cmd.Flags())
	return cmd
}
