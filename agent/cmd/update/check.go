package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/textfile"
	"scanrelay/store/durable"
)

// checker is one run of "update check".
type checker struct {
	*maker
	repo, root, state      string
	machine, current, want string
}

func (m *maker) checkCommand() *cli.Command {
	c := &checker{maker: m}
	cmd := &cli.Command{
		Use:   "check",
		Short: "Verify a repository or bundle as a gateway would, and say what it would install",
		Long: "Verify a repository, on a server, in a folder or in a bundle, as a gateway would, and\n" +
			"bring and verify the program that would come next. Nothing is installed. With --state\n" +
			"what was seen is kept there, so that the next look tells what has become older. It is\n" +
			"judged by this machine's clock, or by the date of this program if that is later.",
		Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			if c.repo == "" || c.root == "" && c.state == "" {
				return cli.Usagef("check needs --repo DIR or URL, and --root FILE")
			}
			return c.run(ctx)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.repo, "repo", "", "the repository: a `FOLDER`, bundle or https address")
	f.StringVar(&c.root, "root", "", "the `FILE` of the root that is trusted first")
	f.StringVar(&c.state, "state", "", "the `FOLDER` where what was seen is kept")
	f.StringVar(&c.machine, "os-arch", "", "the `MACHINE`, as linux/arm/6; unless given this one, or all if there is nothing for it")
	f.StringVar(&c.current, "current", m.version, "the `VERSION` that runs there")
	f.StringVar(&c.want, "version", "", "the `VERSION` that is wanted; unless given, the newest")
	return cmd
}

func (c *checker) run(ctx context.Context) error {
	repository, done, err := repositoryAt(c.repo)
	if err != nil {
		return err
	}
	defer done()
	before, err := c.known()
	if err != nil {
		return err
	}
	v, err := trust.Verify(ctx, repository, before, time.Now())
	if c.state != "" { // what was learnt counts, whatever came after it
		if bad := errors.Join(os.MkdirAll(c.state, 0o700), c.file().Write(v.State)); bad != nil {
			return errors.Join(err, fmt.Errorf("keep what was seen: %w", bad))
		}
	}
	if err != nil {
		return err
	}
	if b, ok := repository.(*trust.Bundle); ok {
		v = b.Limit(v)
	}
	fmt.Fprintf(c.Out, c.Say("verified: targets version %d, %d programs, until %s\n", "验证通过:targets 第 %d 版,%d 个程序,有效至 %s\n"), v.Version, len(v.Targets), cli.Moment(v.Expires.Unix()))
	for _, m := range c.machines(v) {
		if err := c.next(ctx, repository, v, m); err != nil {
			return err
		}
	}
	return nil
}

// repositoryAt opens what an address, a folder or a bundle is.
func repositoryAt(where string) (r trust.Repository, done func(), err error) {
	if strings.HasPrefix(where, "https://") || strings.HasPrefix(where, "http://") {
		return trust.HTTP{URL: where}, func() {}, nil
	}
	info, err := os.Stat(where)
	if err != nil {
		return nil, nil, fmt.Errorf("open repository: %w", err)
	}
	if info.IsDir() {
		return trust.Dir(where), func() {}, nil
	}
	b, err := trust.OpenBundle(where)
	if err != nil {
		return nil, nil, err
	}
	return b, func() { _ = b.Close() }, nil // read only
}

func (c *checker) file() durable.Sealed { return trust.File(filepath.Join(c.state, "trust")) }

// known is what was seen before, or the first root.
func (c *checker) known() (s trust.State, err error) {
	if c.state != "" {
		err = c.file().Read(&s)
		if err == nil {
			s.Raise(c.built)
			return s, nil
		}
		if c.root == "" {
			return s, fmt.Errorf("read what was seen: %w", err)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(c.Err, "scanrelay: what was seen before cannot be read, so an older repository would not be noticed: %v\n", err)
		}
	}
	first, err := textfile.Read(c.root, follow.MaxRoot)
	if err != nil {
		return s, fmt.Errorf("read root: %w", err)
	}
	return trust.NewState(first, c.built)
}

// machines are those to look for.
func (c *checker) machines(v trust.Verified) (list []string) {
	if c.machine != "" {
		return []string{c.machine}
	}
	for _, t := range v.Targets {
		list = append(list, t.Machine())
	}
	os, arch, goarm := follow.Machine()
	this := strings.TrimSuffix(os+"/"+arch+"/"+goarm, "/")
	for _, m := range list {
		if strings.HasPrefix(m, os+"/"+arch) {
			return []string{this}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// next says what a machine would install, having verified that program.
func (c *checker) next(ctx context.Context, from trust.Repository, v trust.Verified, machine string) error {
	os, rest, _ := strings.Cut(machine, "/")
	arch, goarm, _ := strings.Cut(rest, "/")
	t, err := v.Choose(follow.Program, os, arch, goarm, c.current, c.want)
	if errors.Is(err, trust.ErrNothing) {
		_, err = fmt.Fprintf(c.Out, "%s: %v\n", machine, err)
		return err
	}
	if err != nil {
		return err
	}
	if err := c.bring(ctx, from, t); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, c.Say("%s would install %s %s, %s, sha256 %s\n", "%s 将安装 %s %s,%s,sha256 %s\n"), machine, t.Name, t.Version, cli.Size(t.Length), t.SHA256)
	return err
}

// bring fetches a program and lets it go again.
func (c *checker) bring(ctx context.Context, from trust.Repository, t trust.Target) error {
	dir, err := os.MkdirTemp("", "scanrelay-check")
	if err != nil {
		return fmt.Errorf("make a folder to check in: %w", err)
	}
	err = trust.Fetch(ctx, from, t, filepath.Join(dir, follow.Program), trust.Options{})
	return errors.Join(err, os.RemoveAll(dir))
}
