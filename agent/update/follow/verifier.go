package follow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trust"
)

// Verifier is root's: it says by a bundle's metadata what a file is.
type Verifier struct {
	Root     record.Root
	First    string    // file with the first root
	Packaged string    // version of the package
	Built    time.Time // its date
	Log      *slog.Logger
}

// Verify is install.Verifier's. Metadata is a bundle without its programs.
func (v Verifier) Verify(ctx context.Context, file string, metadata, state []byte, seen time.Time) (is record.Release, next []byte, err error) {
	known, err := Known(state, v.First, v.Built)
	if err != nil {
		return is, nil, err
	}
	if err := known.Saw(seen); err != nil {
		v.Log.Warn("expiry is judged by what was known before", "error", err)
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
	rec, err := v.Root.Read()
	if err != nil {
		return is, nil, err
	}
	target, err := v.step(verified, rec, file)
	if err != nil {
		return is, nil, err
	}
	next, err = json.Marshal(verified.State)
	return record.Release{Version: target.Version, SHA256: target.SHA256, Length: target.Length}, next, err
}

// step finds the target that a file is, and holds that it may come next.
func (v Verifier) step(verified trust.Verified, rec record.Record, file string) (trust.Target, error) {
	goos, goarch, goarm := Machine()
	for _, t := range verified.Targets {
		if t.Name != Program || t.Check(file) != nil {
			continue
		}
		for _, known := range []record.Release{rec.Committed, rec.Previous} { // put back where it was damaged
			if known.SHA256 == t.SHA256 && t.OS == goos && t.Arch == goarch {
				return t, nil
			}
		}
		next, err := verified.Choose(Program, goos, goarch, goarm, Runs(rec, v.Packaged), t.Version)
		if err == nil && next.SHA256 != t.SHA256 {
			err = fmt.Errorf("%s needs %s to run before it", t.Version, cmp.Or(t.MinFrom, next.Version))
		}
		return next, err
	}
	return trust.Target{}, errors.New("the file is none that was signed for")
}
