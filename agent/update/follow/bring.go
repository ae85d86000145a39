package follow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/update/install"
	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trust"
	"scanrelay/store/durable"
)

// errBarred: what comes next was tried here.
var errBarred = errors.New("it was tried here and is bad: it is never taken again")

// job is what takes long: finding what comes next, or bringing it.
type job struct {
	cancel context.CancelFunc
	done   chan result
}

// result is what came of one.
type result struct {
	err      error
	target   trust.Target // that was found
	metadata []byte       // why it may be trusted
	id       string       // of the request to install it, once it is here
}

// step is the target as root will know it.
func (r result) step() record.Release {
	return record.Release{Version: r.target.Version, SHA256: r.target.SHA256, Length: r.target.Length}
}

func (f *Follower) start(ctx context.Context, do func(context.Context) result) {
	ctx, cancel := context.WithCancel(ctx)
	j := &job{cancel, make(chan result, 1)}
	f.job = j
	go func() { // abandon and Run wait for it
		defer cancel()
		j.done <- do(ctx)
	}()
}

// ended goes on after a job.
func (f *Follower) ended(ctx context.Context, r result) {
	w := *f.wanted.Load()
	switch {
	case r.err != nil:
		w = f.failed(w, r.err)
	case r.id != "":
		f.pace.Reset()
		w.Asked, w.Bringing, w.Problem, w.Again = r.id, false, "", time.Time{}
		f.c.Log.Info("root is asked to install a version", "version", w.Step.Version)
	default:
		w.Step, w.Asked, w.Bringing, w.Problem, w.Again = r.step(), "", true, "", time.Time{}
		seen := f.said.Load().seen
		f.start(ctx, func(ctx context.Context) result { return f.bring(ctx, r, seen) })
	}
	f.note(w)
}

// find says what comes next on the way to a version.
func (f *Follower) find(ctx context.Context, known trust.State, runs, wanted string) (r result) {
	if launch.NoExec(string(f.c.Root)) {
		return result{err: fmt.Errorf("the file system of %s is mounted noexec: no version there could run", f.c.Root)}
	}
	w := Witness{From: f.c.Repository}
	v, err := trust.Verify(ctx, &w, known, time.Time{})
	if err != nil {
		return result{err: err}
	}
	goos, goarch, goarm := Machine()
	if r.target, r.err = v.Choose(Program, goos, goarch, goarm, runs, wanted); r.err == nil {
		r.metadata, r.err = w.Bundle()
	}
	rec, _ := f.c.Root.Read()
	if r.err == nil && slices.Contains(rec.Barred, r.target.SHA256) {
		r.err = fmt.Errorf("%s: %w", r.target.Version, errBarred)
	}
	return r
}

// bring brings what was found and hands it to root.
func (f *Follower) bring(ctx context.Context, r result, seen time.Time) result {
	file := filepath.Join(string(f.c.Own), "download-"+r.target.SHA256)
	r.err = f.c.Own.Make()
	others, err := durable.Glob(string(f.c.Own), "download-*")
	for _, other := range others { // of other versions
		if !strings.HasPrefix(other, file) { // a delta lies beside it
			err = errors.Join(err, os.Remove(other))
		}
	}
	if r.err = errors.Join(r.err, err); r.err != nil {
		return r
	}
	if r.err = trust.Fetch(ctx, f.c.Repository, r.target, file, trust.Options{MaxRate: f.c.MaxRate, Base: f.c.Program}); r.err != nil {
		return r
	}
	r.id, r.err = install.Stage(f.c.Own, r.metadata, seen, func(path string) error { return os.Rename(file, path) })
	return r
}
