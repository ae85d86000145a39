package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"scanrelay/store/durable"
	"scanrelay/store/snapshot/archive"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/identity"
)

// Source is a centre of which archives are made.
type Source struct {
	// Copy gives the store at one moment: bolt.Store.Copy, or boltfile.CopyFolder of one
	// that does not run.
	Copy    func(ctx context.Context, w archive.Store) error
	Dir     string // data_dir
	Audit   *audit.Log
	Version string
}

// patience is how long the copying waits for whoever takes the copy: meanwhile the
// store keeps its old pages.
const patience = time.Minute

// Write writes an archive.
func (s *Source) Write(ctx context.Context, to io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frames, made := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(frames)
		made <- s.write(ctx, handOver{ctx, frames})
	}()
	var taken error
	for f := range frames {
		if taken == nil {
			if _, taken = to.Write(f); taken != nil {
				cancel()
			}
		}
	}
	return cmp.Or(taken, <-made)
}

func (s *Source) write(ctx context.Context, to io.Writer) error {
	w := archive.NewWriter(to, s.Version)
	if err := s.Copy(ctx, w); err != nil {
		return err
	}
	// After the store: the registration of whoever sent an event is there.
	registrations, err := durable.Open(filepath.Join(s.Dir, identity.JournalName), os.O_RDONLY, 0)
	if err == nil {
		err = errors.Join(w.File(identity.JournalName, registrations, identity.CheckLines), registrations.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.Audit.Files(func(name string, r io.Reader) error { return w.File(name, r, nil) }); err != nil {
		return err
	}
	return w.End()
}

// handOver gives each frame to who takes the copy.
type handOver struct {
	ctx context.Context
	to  chan<- []byte
}

func (h handOver) Write(frame []byte) (int, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case h.to <- frame:
		return len(frame), nil
	case <-h.ctx.Done():
		return 0, h.ctx.Err()
	case <-late.C:
		return 0, fmt.Errorf("nobody took the copy for %v", patience)
	}
}

const (
	// syncEvery bounds what waits to be written to disk: a sync of gigabytes at once
	// would hold up those of others.
	syncEvery = 16 << 20
	// reserve is what a copy leaves on its disk, which may be the store's own.
	reserve = 64 << 20
)

// WriteFile makes a file of what fill writes: whole and on disk, or not at all.
func WriteFile(path string, fill func(w io.Writer) error) error {
	err := durable.Build(path, func(temp string) error {
		f, err := durable.Open(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(fill(&careful{f: f, free: durable.Free}), f.Close())
	})
	if durable.NoSpace(err) {
		err = fmt.Errorf("the disk of %s is full, and nothing of the copy was left on it: %w", filepath.Dir(path), err)
	}
	return err
}

// careful writes to a file without filling the disk or its cache.
type careful struct {
	f        *os.File
	free     func(dir string) int64
	unsynced int
}

func (c *careful) Write(b []byte) (int, error) {
	if c.unsynced == 0 {
		if free := c.free(filepath.Dir(c.f.Name())); free < reserve+syncEvery {
			return 0, fmt.Errorf("%d MiB are free, of which %d are left to others: %w", free>>20, reserve>>20, syscall.ENOSPC)
		}
	}
	n, err := c.f.Write(b)
	if c.unsynced += n; err == nil && c.unsynced >= syncEvery {
		c.unsynced = 0
		err = c.f.Sync()
	}
	return n, err
}
