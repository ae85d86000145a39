//go:build !gateway

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/archive"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/backup"
	"scanrelay/uplink/central/identity"
)

// openCopies is what makes copies of a centre's store; nil where that is a database.
func openCopies(cfg *configs.Central, snap snapshot.Store, log *audit.Log, set *metrics.Set, logger *slog.Logger) (*backup.Keeper, error) {
	store, ok := snap.(*bolt.Store)
	if !ok {
		return nil, nil
	}
	id, err := store.ID(context.Background())
	if err != nil {
		return nil, err
	}
	return backup.New(backup.Options{
		Source:  backup.Source{Copy: store.Copy, Dir: cfg.DataDir, Audit: log, Version: thisBuild().Version},
		StoreID: id, Dir: cfg.Backup.Dir, Every: cfg.Backup.Every, Keep: cfg.Backup.Keep, Logger: logger, Now: time.Now, Metrics: set,
	}), nil
}

// ownTools is said of a store in a database.
const ownTools = "store.driver is postgres: the database is backed up and put back by its own tools, pg_dump or pg_basebackup; only files of bbolt are copied here"

func (a *app) centralBackupCommand() *cli.Command {
	o := &operator{app: a}
	var to string
	cmd := &cli.Command{
		Use:   "backup -c FILE [--to FILE|-]",
		Short: "Copy the centre's state into one file, while it runs or not",
		Long: "Copy the state of a centre on bbolt, as it is at one moment, into one file, while\n" +
			"the centre runs or not: the store, the depots' registrations and the audit log.\n" +
			"Nothing waits for it. The file appears only when it is whole. Personal data in it is\n" +
			"encrypted; the master key and credentials are not in it: keep them elsewhere, for\n" +
			"scanrelay central restore wants the key. A copy of a centre that has not encrypted\n" +
			"what an older scanrelay wrote holds that in clear (mode 0600).\n" +
			"PostgreSQL is backed up by its own tools.",
		Args: cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			return o.backup(ctx, to)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the new `FILE`; - is stdout. Default: centre-TIME.backup here")
	return cmd
}

func (o *operator) backup(ctx context.Context, to string) error {
	if to == "-" && o.Terminal {
		return cli.Usagef("a backup is no text for a terminal: give --to FILE, or redirect it")
	}
	var source func(ctx context.Context, w io.Writer) error
	hint, keyHint := identity.EndedName+" of the centre's data_dir", "the centre's master key"
	if o.url == "" {
		cfg, problems := configs.LoadCentral(o.config, o.Env)
		if err := o.problems(problems); err != nil {
			return err
		}
		if cfg.Store.Driver == driverPostgres {
			return errors.New(ownTools)
		}
		hint, keyHint = filepath.Join(cfg.DataDir, identity.EndedName), masterKeyOf(cfg)
		source = o.copyHere(cfg.DataDir)
	} else {
		source = o.copyThere
	}
	var s archive.Summary
	read := func(ctx context.Context, w io.Writer) (err error) {
		s, err = o.checked(ctx, w, source)
		return err
	}
	out := o.Out
	var err error
	if to == "-" {
		out = o.Err
		err = read(ctx, o.Out)
	} else {
		to, err = o.backupTo(ctx, to, read)
	}
	if err != nil {
		return err
	}
	if o.json {
		return (cli.IO{Out: out}).JSON(map[string]any{"file": to, "store_id": s.StoreID, "at": s.At, "records": s.Records, "bytes": s.Bytes})
	}
	_, err = fmt.Fprintf(out, "%s: store %s as it was at %s, %d records, %d MiB\n"+
		"Personal data in it is encrypted under %s, which is not in it, nor is any credential: keep a copy of the key elsewhere.\n"+
		"What is revoked from now on stands in none of its kind: keep %s beside it, as new as can be; restore wants both.\n",
		to, s.StoreID, s.At.Format(time.RFC3339), s.Records, s.Bytes>>20, keyHint, hint)
	return err
}

// masterKeyOf tells where the master key of a centre stands.
func masterKeyOf(cfg *configs.Central) string {
	if file := filepath.Join(cfg.DataDir, bolt.KeyName); cfg.Store.Key == "" && durable.Exists(file) {
		return file
	}
	return "the master key that the centre is given (store.key, or systemd's credential)"
}

// backupTo makes the file, and returns its name.
func (o *operator) backupTo(ctx context.Context, to string, read func(context.Context, io.Writer) error) (string, error) {
	name := cmp.Or(to, "centre-"+time.Now().UTC().Format("20060102T150405Z")+".backup")
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return name, fmt.Errorf("--to: %s is there and is no file: give the name of a new file", name)
	}
	return name, backup.WriteFile(name, func(w io.Writer) error { return read(ctx, w) })
}

// checked reads all that is copied, as a restore would, while it is written.
func (o *operator) checked(ctx context.Context, w io.Writer, source func(context.Context, io.Writer) error) (s archive.Summary, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, pipe := io.Pipe()
	made := make(chan error, 1)
	go func() {
		err := source(ctx, pipe)
		_ = pipe.CloseWithError(err) // never fails; nil is the end
		made <- err
	}()
	p := &progress{io: o.IO, doing: "backup"}
	s, err = archive.Read(io.TeeReader(r, w), p)
	p.end()
	cancel()
	_ = r.CloseWithError(err) // who writes on ends with it
	if why := <-made; why != nil && !errors.Is(why, err) && !errors.Is(why, context.Canceled) {
		return s, why
	}
	return s, err
}

// copyThere reads an archive from the centre that runs.
func (o *operator) copyThere(ctx context.Context, w io.Writer) error {
	return o.stream(ctx, http.MethodPost, "/v1/backup", nil, func(resp *http.Response) error {
		_, err := io.Copy(w, resp.Body)
		if why := resp.Trailer.Get(backup.ErrorTrailer); why != "" {
			return fmt.Errorf("the centre: %s", why)
		}
		return err
	})
}

// copyHere is copyThere, or reads the files of a centre that does not run.
func (o *operator) copyHere(dir string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		err := o.copyThere(ctx, w)
		if !errors.Is(err, errNotRunning) {
			return err
		}
		s := backup.Source{Dir: dir, Audit: audit.Open(dir, time.Now), Version: thisBuild().Version, Copy: func(ctx context.Context, w archive.Store) error {
			return boltfile.CopyFolder(ctx, dir, time.Now(), w)
		}}
		switch err := s.Write(ctx, w); {
		case errors.Is(err, snapshot.ErrInUse):
			return fmt.Errorf("%w: the centre runs and has no local socket: give --url and --token", err)
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: no centre has run with this data_dir (%w)", dir, err)
		case errors.Is(err, durable.ErrDamaged):
			return fmt.Errorf("%w: a centre that starts mends its files; back them up then", err)
		default:
			return err
		}
	}
}

// progress is an archive.Sink that shows on a terminal how far it came.
type progress struct {
	io    cli.IO
	doing string
	about int64
	done  int64
	shown time.Time
}

func (p *progress) Begin(h archive.Head) error     { p.about = h.Size; return nil }
func (p *progress) Bucket(string, string) error    { return nil }
func (p *progress) File(string) error              { return nil }
func (p *progress) Record(key, value []byte) error { return p.add(len(key) + len(value)) }
func (p *progress) Data(b []byte) error            { return p.add(len(b)) }
func (p *progress) add(n int) error {
	p.done += int64(n)
	if p.io.ErrTerminal && time.Since(p.shown) > time.Second/2 {
		p.shown = time.Now()
		of := ""
		if p.about > 0 {
			of = fmt.Sprintf(" of about %d", p.about>>20)
		}
		fmt.Fprintf(p.io.Err, "\r%s: %d%s MiB", p.doing, p.done>>20, of)
	}
	return nil
}

// end leaves the line.
func (p *progress) end() {
	if !p.shown.IsZero() {
		fmt.Fprintln(p.io.Err)
	}
}

func (a *app) centralRestoreCommand() *cli.Command {
	var config, revocations string
	var without, check bool
	cmd := &cli.Command{
		Use:   "restore -c FILE (--revocations FILE|--without-revocations) ARCHIVE",
		Short: "Put a backup of the centre into an empty data_dir",
		Long: "Put a backup into an empty data_dir: all of it, or nothing. It reads all of ARCHIVE\n" +
			"(- is stdin), and refuses one that is damaged, cut off or of a newer scanrelay. What\n" +
			"was revoked since stands in revocations.log of the data_dir that was lost:\n" +
			"--revocations names it; without it who was revoked since the backup is let in again.\n" +
			"Start the centre then: depots send what is missing by themselves. With --check the\n" +
			"archive is only read, and nothing is changed. The master key is that of the centre\n" +
			"which was lost: store.key_file, systemd's credential, or its centre.key, put into\n" +
			"the empty data_dir before.",
		Args: cli.Exactly(1, "one ARCHIVE"),
		Run: func(ctx context.Context, args []string) error {
			if check {
				return a.checkArchive(args[0])
			}
			if (revocations != "") == without {
				return cli.Usagef("restore needs --revocations FILE (revocations.log of the data_dir that was lost) or, if there is none any more, --without-revocations")
			}
			cfg, problems := configs.LoadCentral(config, a.Env)
			if err := a.problems(problems); err != nil {
				return err
			}
			if cfg.Store.Driver == driverPostgres {
				return errors.New(ownTools)
			}
			return a.restore(ctx, cfg, args[0], revocations)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&config, "config", "c", "/etc/scanrelay/central.yaml", "the configuration `FILE`")
	f.StringVar(&revocations, "revocations", "", "what was revoked: a `FILE`, revocations.log of the data_dir that was lost")
	f.BoolVar(&without, "without-revocations", false, "there is no such file any more")
	f.BoolVar(&check, "check", false, "only read the archive, and tell what is in it")
	return cmd
}

// reading opens an archive; - is stdin.
func (a *app) reading(name, doing string) (*counted, error) {
	c := &counted{progress: progress{io: a.IO, doing: doing}, r: io.NopCloser(a.In)}
	if name == "-" {
		return c, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	c.r, c.about = f, durable.Size(name)
	return c, nil
}

func (a *app) checkArchive(name string) error {
	f, err := a.reading(name, "check")
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := archive.Check(f)
	f.end()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = fmt.Fprintf(a.Out, "all good: store %s as it was at %s, %d records, %d MiB, written by scanrelay %s\n",
		s.StoreID, s.At.Format(time.RFC3339), s.Records, s.Bytes>>20, s.Scanrelay)
	return err
}

func (a *app) restore(ctx context.Context, cfg *configs.Central, name, revocations string) error {
	if err := ownedByUs(cfg.DataDir, os.Geteuid()); err != nil {
		return err
	}
	f, err := a.reading(name, "restore")
	if err != nil {
		return err
	}
	defer f.Close()
	o := backup.Restoring{Dir: cfg.DataDir, Revocations: revocations, Key: cfg.Store.Key, Who: fmt.Sprintf("uid %d", os.Getuid()), Now: time.Now}
	s, err := o.Restore(ctx, f)
	f.end()
	switch {
	case errors.Is(err, durable.ErrInUse):
		return fmt.Errorf("the centre is running: stop it first (%w)", err)
	case errors.Is(err, datakey.ErrKey):
		return fmt.Errorf("restore %s: %w; put %s of the data_dir that was lost into %s, or give its key in store.key_file", name, err, bolt.KeyName, cfg.DataDir)
	case err != nil:
		return fmt.Errorf("restore %s: %w", name, err)
	}
	_, err = fmt.Fprintf(a.Out, "%s: store %s as it was at %s, %d records, is in place\n"+
		"Start the centre. Depots send by themselves what it lacks; numbers that none has any more are named in the log and on the fleet page.\n"+
		"Import again the waybill data that was imported since %[3]s. Add depots again that were added since.\n",
		cfg.DataDir, s.StoreID, s.At.Format(time.RFC3339), s.Records)
	return err
}

// counted shows how much of an archive was read.
type counted struct {
	progress
	r io.ReadCloser
}

func (c *counted) Close() error { return c.r.Close() }

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	_ = c.add(n) // never fails
	return n, err
}
