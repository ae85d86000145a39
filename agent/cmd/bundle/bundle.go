package bundle

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/cmd/doctor"
	"scanrelay/agent/control"
	"scanrelay/configs"
	"scanrelay/store"
)

// bundler is one run of the command.
type bundler struct {
	cli.IO
	file, version, to string

	out      *tar.Writer
	at       time.Time
	manifest strings.Builder
}

// Command returns the command; file is the configuration unless -c names another.
func Command(world cli.IO, file, version string) *cli.Command {
	b := &bundler{IO: world, version: version}
	cmd := &cli.Command{
		Use:   "bundle",
		Short: "Put what others need to understand this gateway into one file",
		Long:  "Write a .tar.gz with status, doctor's findings, configuration, log, metrics and the\nlook at the store, without secrets and personal data: for who has to mend it from afar.",
		Args:  cli.NoArgs,
		Run:   func(ctx context.Context, _ []string) error { return b.run(ctx) },
	}
	cmd.Flags().StringVarP(&b.file, "config", "c", file, "the agent's configuration `FILE`")
	cmd.Flags().StringVar(&b.to, "to", "", "the `FILE` to write, - for stdout; unless given, scanrelay-DEPOT-TIME.tar.gz here")
	return cmd
}

func (b *bundler) run(ctx context.Context) error {
	b.at = time.Now()
	cfg, problems := configs.LoadAgent(b.file, b.Env)
	if b.to == "-" {
		return b.write(ctx, b.Out, cfg, problems)
	}
	if b.to == "" {
		depot := "unknown"
		if cfg.Depot.ID.Valid() {
			depot = string(cfg.Depot.ID)
		}
		b.to = fmt.Sprintf("scanrelay-%s-%s.tar.gz", depot, b.at.UTC().Format("20060102T150405Z"))
	}
	f, err := os.OpenFile(b.to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if err := errors.Join(b.write(ctx, f, cfg, problems), f.Close()); err != nil {
		_ = os.Remove(b.to) // half of it helps nobody
		return err
	}
	fmt.Fprint(b.Out, b.manifest.String())
	fmt.Fprintf(b.Out, b.Say("wrote %s\n", "已写入 %s\n"), b.to)
	return nil
}

func (b *bundler) write(ctx context.Context, to io.Writer, cfg *configs.Agent, problems configs.Problems) error {
	zip := gzip.NewWriter(to)
	b.out = tar.NewWriter(zip)
	b.collect(ctx, cfg, problems)
	b.add("manifest.txt", []byte(b.manifest.String()))
	if err := errors.Join(b.out.Close(), zip.Close()); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

func (b *bundler) collect(ctx context.Context, cfg *configs.Agent, problems configs.Problems) {
	b.put("version.json", func() ([]byte, error) {
		return json.Marshal(map[string]string{
			"version": b.version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "at": b.at.UTC().Format(time.RFC3339),
		})
	})
	b.put("configuration.json", func() ([]byte, error) { return configuration(cfg) })
	b.put("problems.txt", func() ([]byte, error) { return []byte(problems.String() + "\n"), nil })
	b.put("doctor.json", func() ([]byte, error) { return doctor.Report(ctx, b.IO, b.file, b.version) })
	b.put("status.json", func() ([]byte, error) { return b.status(ctx, cfg) })
	b.put("store.json", func() ([]byte, error) { return storeOf(cfg) })
	c, err := control.Dial(ctx, cfg.DataDir)
	if err == nil {
		defer c.Close()
	}
	for _, of := range []control.Report{control.ReportMetrics, control.ReportGoroutines, control.ReportLog} {
		b.put(string(of)+".txt", func() ([]byte, error) {
			if err != nil {
				return nil, err
			}
			return c.Report(ctx, of)
		})
	}
	if err != nil { // its last words are in the journal
		b.put("journal.txt", func() ([]byte, error) { return journal(ctx) })
	}
}

// userinfo is a name and a password in an address.
var userinfo = regexp.MustCompile(`://[^/@\s"]+@`)

// configuration is what counts, defaults too. Secrets mask themselves.
func configuration(cfg *configs.Agent) ([]byte, error) {
	text, err := json.MarshalIndent(cfg, "", " ")
	return userinfo.ReplaceAll(text, []byte("://***@")), err
}

func (b *bundler) status(ctx context.Context, cfg *configs.Agent) ([]byte, error) {
	v, err := control.Open(ctx, cfg.DataDir, cfg.Depot.ID, b.version)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	s, err := v.Status(ctx)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(s, "", " ")
}

// storeOf looks at the store's files; those of a running agent, too.
func storeOf(cfg *configs.Agent) ([]byte, error) {
	r, err := store.Check(cfg.DataDir)
	if errors.Is(err, store.ErrInUse) {
		return nil, errors.New("the agent holds it: stop it, then scanrelay store check")
	}
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(map[string]any{"good": r.Good(), "files": r.Files, "aside": r.Aside, "problems": r.Problems}, "", " ")
}

// journal is the last lines that the service wrote.
func journal(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "journalctl", "-u", "scanrelay-agent", "-n", "2000", "--no-pager", "-o", "cat").Output()
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return out, nil
}

// put adds what make makes, or why there is none.
func (b *bundler) put(name string, make func() ([]byte, error)) {
	text, err := make()
	if err != nil {
		fmt.Fprintf(&b.manifest, "%-20s %s: %v\n", name, b.Say("missing", "缺少"), err)
		return
	}
	b.add(name, text)
	fmt.Fprintf(&b.manifest, "%-20s %d\n", name, len(text))
}

// add adds a file. An error stays, and Close tells it.
func (b *bundler) add(name string, text []byte) {
	h := &tar.Header{Name: "scanrelay/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: b.at, Typeflag: tar.TypeReg}
	if b.out.WriteHeader(h) == nil {
		_, _ = b.out.Write(text)
	}
}
