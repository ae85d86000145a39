package trust

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"scanrelay/store/durable"
)

// Options are how a file is brought; the zero value will do.
type Options struct {
	MaxRate  int64              // bytes a second; 0: as fast as it comes
	Deadline time.Duration      // for all of it; 0: six hours
	Free     func(string) int64 // what a folder's disk has left; nil: as the system says
	Base     string             // the program that is here, for deltas; "": none
}

const fetchDeadline = 6 * time.Hour

// roomFor is the room that must be free before a file is brought: for itself, its copy
// where it is installed, and half of it for what goes on meanwhile.
func roomFor(length int64) int64 { return length/2*5 + length%2*3 }

// Fetch brings a target's file to a path. It goes on where an earlier try ended, and
// leaves what it has for the next one when it fails. When it returns nil, the file
// is the target's, to the last bit, and on disk. A delta from o.Base is taken where there
// is one.
func Fetch(ctx context.Context, from Repository, t Target, to string, o Options) error {
	if done, err := viaDelta(ctx, from, t, to, o); done || err != nil {
		return err
	}
	return fetch(ctx, from, t.Stored(), t.Length, t.SHA256, to, roomFor(t.Length), o)
}

func fetch(ctx context.Context, from Repository, name string, length int64, sum, to string, room int64, o Options) error {
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(o.Deadline, fetchDeadline), errDeadline)
	defer cancel()
	free := o.Free
	if free == nil {
		free = durable.Free
	}
	f, err := durable.Open(to, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	d := download{file: f, name: name, length: length, sum: sum, flow: flow{most: o.MaxRate}}
	if err = d.resume(); err == nil {
		if has := free(filepath.Dir(to)) + d.has; has < room {
			err = fmt.Errorf("fetch %s: %d bytes are free, %d are needed", name, has, room)
		}
	}
	resumed := d.has > 0
	if err == nil {
		err = d.run(ctx, from)
	}
	if errors.Is(err, ErrRefused) && resumed { // it may be what was here that is wrong
		err = d.run(ctx, from)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

type download struct {
	file   *os.File
	name   string
	length int64
	sum    string
	flow   flow
	has    int64
	hash   hash.Hash
}

// resume reads what an earlier try left.
func (d *download) resume() (err error) {
	d.hash = sha256.New()
	if d.has, err = io.Copy(d.hash, io.LimitReader(d.file, d.length+1)); err == nil && d.has > d.length {
		err = d.restart()
	}
	return err
}

func (d *download) restart() error {
	d.has, d.hash = 0, sha256.New()
	_, err := d.file.Seek(0, io.SeekStart)
	return errors.Join(err, d.file.Truncate(0))
}

// run brings what is missing. What is wrong then is not kept.
func (d *download) run(ctx context.Context, from Repository) error {
	if d.has < d.length {
		n, err := d.flow.copy(ctx, io.MultiWriter(d.file, d.hash), from, d.name, d.has, d.length-d.has)
		d.has += n
		if errors.Is(err, ErrRefused) {
			return errors.Join(err, d.restart())
		}
		if err != nil {
			return err
		}
		if d.has < d.length { // the rest may come another time
			return fmt.Errorf("get %s: ended after %d of %d bytes", d.name, d.has, d.length)
		}
	}
	if hex.EncodeToString(d.hash.Sum(nil)) != d.sum {
		return errors.Join(refuse("get %s: its SHA-256 is not the one that was signed for", d.name), d.restart())
	}
	return nil
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Check holds that the file at a path is the target's.
func (t Target) Check(path string) error {
	f, err := durable.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("check %s %s: %w", t.Name, t.Version, err)
	}
	defer func() { _ = f.Close() }() // read only
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, t.Length+1))
	switch {
	case err != nil:
		return fmt.Errorf("check %s %s: %w", t.Name, t.Version, err)
	case n != t.Length || hex.EncodeToString(h.Sum(nil)) != t.SHA256:
		return refuse("check %s: it is not the %s %s that was signed for", filepath.Base(path), t.Name, t.Version)
	}
	return nil
}
