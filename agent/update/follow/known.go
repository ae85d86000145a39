package follow

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/textfile"
)

// FirstRoot holds the first keys that are trusted, which whoever publishes releases gives
// with the gateway. MaxRoot bounds it.
const (
	FirstRoot = "/etc/scanrelay/update-root.json"
	MaxRoot   = 512_000
)

// Program is the name of what is installed here.
const Program = "scanrelay"

// Known is what is known of releases: what root keeps, or the first root where that is
// nothing. built is this program's date.
func Known(kept []byte, file string, built time.Time) (s trust.State, err error) {
	if len(kept) > 0 {
		err = json.Unmarshal(kept, &s)
	} else {
		var first []byte
		if first, err = textfile.Read(file, MaxRoot); err != nil {
			return s, fmt.Errorf("nobody's releases are trusted here: %w", err)
		}
		s, err = trust.NewState(first, built)
	}
	s.Raise(built)
	return s, err
}

// Machine is what this program was built for.
func Machine() (os, arch, goarm string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "GOARM" {
				goarm, _, _ = strings.Cut(s.Value, ",")
			}
		}
	}
	return runtime.GOOS, runtime.GOARCH, goarm
}

// Runs is the version that runs: the committed one, or a newer package.
func Runs(rec record.Record, packaged string) string {
	if rec.Committed.IsPackaged() || record.Newer(packaged, rec.Committed.Version) {
		return packaged
	}
	return rec.Committed.Version
}

// Witness is a repository that keeps the metadata which it gave: root verifies that anew.
type Witness struct {
	From trust.Repository

	names []string
	files []*bytes.Buffer
}

// Open is trust.Repository's.
func (w *Witness) Open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	body, err := w.From.Open(ctx, name, from)
	if err != nil || strings.HasPrefix(name, "targets/") {
		return body, err
	}
	kept := &bytes.Buffer{} // no longer than what trust reads, which has a bound
	w.names, w.files = append(w.names, name), append(w.files, kept)
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(body, kept), body}, nil
}

// Bundle is what was kept, as a bundle without programs.
func (w *Witness) Bundle() ([]byte, error) {
	var out bytes.Buffer
	to := tar.NewWriter(&out)
	for i, name := range w.names {
		if err := to.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(w.files[i].Len())}); err != nil {
			return nil, fmt.Errorf("keep metadata: %w", err)
		}
		if _, err := to.Write(w.files[i].Bytes()); err != nil {
			return nil, fmt.Errorf("keep metadata: %w", err)
		}
	}
	return out.Bytes(), to.Close()
}
