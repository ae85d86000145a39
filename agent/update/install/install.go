package install

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/store/durable"
)

// Bounds of what the agent's user hands over.
const (
	maxRequest  = 16 << 10
	maxMetadata = 4 << 20
	maxTarget   = 64 << 20
)

// maxBarred is how many digests are barred, the latest: more releases than that are
// not made while one of the older is still offered.
const maxBarred = 256

// incoming is the folder of a version in the making; no version is called so.
const incoming = "incoming"

// Verifier says what a file is, by metadata that is trusted. state is what is known of
// earlier metadata; next is to be known from now on. seen is the newest time of the
// centre's that the agent knows of.
type Verifier interface {
	Verify(ctx context.Context, file string, metadata, state []byte, seen time.Time) (is record.Release, next []byte, err error)
}

// Installer is root's part. All but Free is needed.
type Installer struct {
	Root           record.Root
	Own            record.Own
	Packaged       string // version of this program, which is the package's
	PackagedFolder string
	Verifier       Verifier
	Free           func(dir string) int64 // what its disk has left; nil: as the system says
	Log            *slog.Logger
}

// Run does what is asked for, if anything is, and puts the link right. An error is one
// after which nothing was answered: it is to be tried again.
func (i *Installer) Run(ctx context.Context) error {
	if err := os.MkdirAll(string(i.Root), 0o755); err != nil {
		return err
	}
	rec, err := i.Root.Read()
	known := err == nil
	if !known {
		i.Log.Error("the record of the versions cannot be read; what `current` leads to counts as committed", "error", err)
	}
	own, err := openFolder(string(i.Own))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("open the agent's folder: %w", err)
	default:
		defer own.close()
		if rec, err = i.serve(ctx, own, rec); err != nil {
			return err
		}
	}
	if mended, err := i.Root.Link(i.runs(rec), i.PackagedFolder); err != nil {
		return err
	} else if mended {
		i.Log.Info("current leads to another version", "version", cmp.Or(i.runs(rec).Version, i.Packaged))
	}
	if known {
		return i.clean(rec)
	}
	return nil
}

// serve does what a request asks for, writes down its answer, and takes it away.
func (i *Installer) serve(ctx context.Context, own *folder, rec record.Record) (record.Record, error) {
	content, err := own.read(record.RequestFile, maxRequest)
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	var req record.Request
	if err == nil {
		req, err = record.DecodeRequest(content)
	}
	if err == nil && (req.ID == "" || req.ID != rec.Answer.ID) { // else a power cut came before it was taken away
		next, bad := i.do(ctx, own, rec, req)
		if errors.Is(bad, context.Canceled) {
			return rec, bad
		}
		next.Answer = record.Answer{ID: req.ID}
		if bad != nil {
			next.Answer.Reason = bad.Error()
			i.Log.Error("refused", "op", req.Op, "error", bad)
		} else {
			i.Log.Info("done", "op", req.Op, "committed", next.Committed.Version, "candidate", next.Candidate.Version)
		}
		if err := i.Root.Write(next); err != nil {
			return rec, fmt.Errorf("write the record: %w", err)
		}
		rec = next
	}
	if err != nil {
		i.Log.Error("a request cannot be understood", "error", err)
	}
	if err := own.remove(record.RequestFile); err != nil {
		return rec, err
	}
	i.empty(own)
	return rec, own.sync()
}

// empty takes away what was staged.
func (i *Installer) empty(own *folder) {
	staged, err := own.folder(record.StagedFolder)
	if err != nil {
		return // there is none
	}
	defer staged.close()
	if err := errors.Join(staged.remove(record.Target), staged.remove(record.Metadata)); err != nil {
		i.Log.Warn("what was staged is not taken away", "error", err)
	}
}

// do returns the record as it is after a request. With an error nothing but the answer
// changes.
func (i *Installer) do(ctx context.Context, own *folder, rec record.Record, req record.Request) (record.Record, error) {
	switch req.Op {
	case record.OpInstall:
		return i.install(ctx, own, rec, req.Seen)
	case record.OpCommit:
		return i.commit(rec, req.Release)
	case record.OpBack, record.OpBar:
		return back(rec, req.Release, req.Op == record.OpBar)
	case record.OpMend:
		return rec, nil
	}
	return rec, fmt.Errorf("no such request: %.20q", req.Op)
}

// runs is the committed version, unless the package is newer.
func (i *Installer) runs(rec record.Record) record.Release {
	if record.Newer(i.Packaged, rec.Committed.Version) {
		return record.Release{}
	}
	return rec.Committed
}

// commit has the candidate run from now on.
func (i *Installer) commit(rec record.Record, r record.Release) (record.Record, error) {
	switch {
	case rec.Committed == r:
		return rec, nil
	case r.IsPackaged() || rec.Candidate != r:
		return rec, fmt.Errorf("commit %s: the candidate is %q", r.Version, rec.Candidate.Version)
	}
	rec.Previous = i.runs(rec)
	rec.Committed, rec.Candidate = r, record.Release{}
	return rec, nil
}

// back has a version no longer run, nor tried; bar: nor taken again.
func back(rec record.Record, r record.Release, bar bool) (record.Record, error) {
	switch {
	case r.IsPackaged():
		return rec, errors.New("go back: the packaged version is the package manager's to change")
	case rec.Candidate == r:
		rec.Candidate = record.Release{}
	case rec.Committed == r:
		rec.Committed, rec.Previous = rec.Previous, record.Release{}
	default:
		return rec, nil // done already
	}
	if bar && !slices.Contains(rec.Barred, r.SHA256) {
		rec.Barred = append(slices.Clone(rec.Barred), r.SHA256)
		rec.Barred = rec.Barred[max(0, len(rec.Barred)-maxBarred):]
	}
	return rec, nil
}

// install takes what was staged, in the order in which a power cut does no harm: the
// folder is whole before it has the version's name, and has it before the record says
// so.
func (i *Installer) install(ctx context.Context, own *folder, rec record.Record, seen time.Time) (record.Record, error) {
	if launch.NoExec(string(i.Root)) {
		return rec, fmt.Errorf("install: the file system of %s is mounted noexec: no version there could run", i.Root)
	}
	staged, err := own.folder(record.StagedFolder)
	if err != nil {
		return rec, fmt.Errorf("install: %w", err)
	}
	defer staged.close()
	metadata, err := staged.read(record.Metadata, maxMetadata)
	if err != nil {
		return rec, fmt.Errorf("install: %w", err)
	}
	made := filepath.Join(string(i.Root), incoming)
	if err := errors.Join(os.RemoveAll(made), os.Mkdir(made, 0o700)); err != nil {
		return rec, fmt.Errorf("install: %w", err)
	}
	program := filepath.Join(made, record.Program)
	copied, err := i.copy(ctx, staged, program)
	if err != nil {
		return rec, fmt.Errorf("install: %w", err)
	}
	is, state, err := i.Verifier.Verify(ctx, program, metadata, rec.Trust, seen)
	if err == nil {
		err = i.admit(rec, is, copied)
	}
	if err == nil {
		err = i.publish(rec, is, made, program)
	}
	if err != nil {
		return rec, fmt.Errorf("install: %w", errors.Join(err, os.RemoveAll(made)))
	}
	rec.Trust = state
	if is != rec.Committed && is != rec.Previous { // else it was damaged, and is whole again
		rec.Candidate = is
	}
	return rec, nil
}

// admit tells why a release is not to be installed, though it is a true one.
func (i *Installer) admit(rec record.Record, is, copied record.Release) error {
	if err := is.Check(); err != nil {
		return err
	}
	runs := cmp.Or(i.runs(rec).Version, i.Packaged)
	switch {
	case is.SHA256 != copied.SHA256 || is.Length != copied.Length:
		return fmt.Errorf("%s: the copy is not what was verified", is.Version)
	case slices.Contains(rec.Barred, is.SHA256):
		return fmt.Errorf("%s was tried here and is bad: it is never taken again", is.Version)
	case is != rec.Committed && is != rec.Previous && !record.Newer(is.Version, runs):
		return fmt.Errorf("%s is not newer than %s, which runs", is.Version, runs)
	case is.Version == rec.Previous.Version && is != rec.Previous:
		return fmt.Errorf("%s is another than was committed under this name", is.Version)
	}
	return nil
}

// copy copies the staged program, bounded and synced.
func (i *Installer) copy(ctx context.Context, staged *folder, to string) (is record.Release, err error) {
	from, size, err := staged.file(record.Target, maxTarget)
	if err != nil {
		return is, err
	}
	defer from.Close()
	free := i.Free
	if free == nil {
		free = durable.Free
	}
	// For the copy, and as much and half again for what goes on meanwhile.
	if has := free(string(i.Root)); has < size*5/2 {
		return is, fmt.Errorf("%d bytes are free, %d are needed", has, size*5/2)
	}
	f, err := durable.Open(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return is, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(reader{ctx, from}, size+1))
	if err == nil && n != size {
		err = errors.New("it changes while it is copied")
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return is, err
	}
	return record.Release{SHA256: hex.EncodeToString(h.Sum(nil)), Length: n}, nil
}

// reader reads until ctx ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// publish gives the folder its name.
func (i *Installer) publish(rec record.Record, is record.Release, made, program string) error {
	err := errors.Join(os.Chmod(program, 0o755), durable.Sync(program), os.Chmod(made, 0o755), i.Root.WriteRelease(incoming, is))
	if err != nil {
		return err
	}
	folder := i.Root.Folder(is)
	if (is == rec.Committed || is == rec.Previous) && launch.Verify(i.Root.Binary(is), is) == nil {
		return fmt.Errorf("%s is installed already", is.Version)
	}
	if err := errors.Join(os.RemoveAll(folder), os.Rename(made, folder)); err != nil {
		return err
	}
	return durable.SyncDir(string(i.Root))
}

// clean removes the versions that the record does not name, and what a power cut left.
func (i *Installer) clean(rec record.Record) error {
	entries, err := durable.ReadDir(string(i.Root))
	if err != nil {
		return err
	}
	for _, e := range entries {
		is := record.Release{Version: e.Name(), SHA256: hex.EncodeToString(make([]byte, 32))}
		stays := e.Name() != incoming && is.Check() != nil
		for _, r := range []record.Release{rec.Committed, rec.Previous, rec.Candidate} {
			stays = stays || r.Version == e.Name()
		}
		if !stays {
			err = errors.Join(err, os.RemoveAll(filepath.Join(string(i.Root), e.Name())))
		}
	}
	return err
}
