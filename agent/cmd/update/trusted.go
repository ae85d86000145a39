package update

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/install"
	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/textfile"
)

// firstRoot holds the first keys that are trusted, which whoever publishes releases gives
// with the gateway.
const firstRoot = "/etc/scanrelay/update-root.json"

// maxRoot bounds it.
const maxRoot = 512_000

// program is the name of what is installed here.
const program = "scanrelay"

// verifier is root's: it says by a bundle's metadata what a file is.
type verifier struct {
	m     *maker
	root  record.Root
	first string
}

// trustState is what is known of releases; the first root where nothing is.
func (m *maker) trustState(state []byte, file string) (s trust.State, err error) {
	if len(state) > 0 {
		err = json.Unmarshal(state, &s)
	} else {
		var first []byte
		if first, err = textfile.Read(file, maxRoot); err != nil {
			return s, fmt.Errorf("nobody's releases are trusted here: %w", err)
		}
		s, err = trust.NewState(first, m.built)
	}
	s.Raise(m.built)
	return s, err
}

// machine is what this program was built for.
func machine() (os, arch, goarm string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "GOARM" {
				goarm, _, _ = strings.Cut(s.Value, ",")
			}
		}
	}
	return runtime.GOOS, runtime.GOARCH, goarm
}

// Verify is install.Verifier's. Metadata is a bundle without its programs.
func (v verifier) Verify(ctx context.Context, file string, metadata, state []byte) (is record.Release, next []byte, err error) {
	known, err := v.m.trustState(state, v.first)
	if err != nil {
		return is, nil, err
	}
	path := filepath.Join(filepath.Dir(file), record.Metadata)
	if err := os.WriteFile(path, metadata, 0o600); err != nil {
		return is, nil, err
	}
	defer os.Remove(path)
	bundle, err := trust.OpenBundle(path)
	if err != nil {
		return is, nil, err
	}
	defer bundle.Close()
	verified, err := trust.Verify(ctx, bundle, known, time.Time{})
	if err != nil {
		return is, nil, err
	}
	rec, err := v.root.Read()
	if err != nil {
		return is, nil, err
	}
	target, err := v.m.step(verified, rec, file)
	if err != nil {
		return is, nil, err
	}
	next, err = json.Marshal(verified.State)
	return record.Release{Version: target.Version, SHA256: target.SHA256, Length: target.Length}, next, err
}

// step finds the target that a file is, and holds that it may come next.
func (m *maker) step(v trust.Verified, rec record.Record, file string) (trust.Target, error) {
	goos, goarch, goarm := machine()
	for _, t := range v.Targets {
		if t.Name != program || t.Check(file) != nil {
			continue
		}
		for _, known := range []record.Release{rec.Committed, rec.Previous} { // put back where it was damaged
			if known.SHA256 == t.SHA256 && t.OS == goos && t.Arch == goarch {
				return t, nil
			}
		}
		next, err := v.Choose(program, goos, goarch, goarm, m.runs(rec), t.Version)
		if err == nil && next.SHA256 != t.SHA256 {
			err = fmt.Errorf("%s needs %s to run before it", t.Version, cmp.Or(t.MinFrom, next.Version))
		}
		return next, err
	}
	return trust.Target{}, errors.New("the file is none that was signed for")
}

// runs is the version that runs: the committed one, or a newer package.
func (m *maker) runs(rec record.Record) string {
	if rec.Committed.IsPackaged() || record.Newer(m.version, rec.Committed.Version) {
		return m.version
	}
	return rec.Committed.Version
}

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
	known, err := m.trustState(rec.Trust, p.first)
	if err != nil {
		return err
	}
	bundle, err := trust.OpenBundle(file)
	if err != nil {
		return err
	}
	defer bundle.Close()
	verified, err := trust.Verify(ctx, bundle, known, time.Time{})
	if err != nil {
		return err
	}
	goos, goarch, goarm := machine()
	target, err := bundle.Limit(verified).Choose(program, goos, goarch, goarm, m.runs(rec), "")
	if err != nil {
		return err
	}
	if slices.Contains(rec.Barred, target.SHA256) {
		return fmt.Errorf("%s was tried here and is bad: it is never taken again", target.Version)
	}
	metadata, err := metadataOf(file)
	if err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	if err := p.asOwner(); err != nil { // all that only root may read has been opened
		return err
	}
	id, err := install.Stage(own, metadata, func(path string) error {
		return trust.Fetch(ctx, bundle, target, path, trust.Options{})
	})
	if err == nil {
		err = await(ctx, root, id)
	}
	if err != nil {
		return fmt.Errorf("apply %s: %w", target.Version, err)
	}
	_, err = fmt.Fprintf(m.Out, "%s is installed; the agent tries it at the next quiet moment\n", target.Version)
	return err
}

// metadataOf is a bundle without its programs.
func metadataOf(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			err = w.Close()
			return out.Bytes(), err
		}
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(h.Name, "targets/") {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: h.Name, Mode: 0o644, Size: h.Size}); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, io.LimitReader(r, h.Size)); err != nil { // trust has bounded it
			return nil, err
		}
	}
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
			known, err := m.trustState(rec.Trust, p.first)
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
