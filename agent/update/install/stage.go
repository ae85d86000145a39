package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"scanrelay/agent/update/record"
	"scanrelay/store/durable"
)

// Stage puts a version where root looks for it, and asks root to install it: fill
// writes the program to a file, metadata is why it may be trusted, seen the newest time
// that the authenticated centre gave, zero where none did. What was staged before is
// gone. It returns the request's id.
func Stage(own record.Own, metadata []byte, seen time.Time, fill func(path string) error) (id string, err error) {
	dir := filepath.Join(string(own), record.StagedFolder)
	if err := own.Make(); err != nil {
		return "", fmt.Errorf("stage: %w", err)
	}
	// A request that root has not taken must not meet the half of another version.
	err = errors.Join(gone(filepath.Join(string(own), record.RequestFile)), gone(filepath.Join(dir, record.Target)), os.MkdirAll(dir, 0o770))
	if err == nil {
		err = os.Chmod(dir, 0o770) // root empties it as a member of the group
	}
	if err == nil {
		err = put(filepath.Join(dir, record.Metadata), func(path string) error { return durable.WriteFile(path, metadata) })
	}
	if err == nil {
		err = put(filepath.Join(dir, record.Target), fill)
	}
	if err == nil {
		err = durable.SyncDir(string(own)) // which has the folder
	}
	if err != nil {
		return "", fmt.Errorf("stage: %w", err)
	}
	return own.Send(record.Request{Op: record.OpInstall, Seen: seen})
}

// put makes a file that the group can read.
func put(path string, fill func(path string) error) error {
	return durable.Build(path, func(temp string) error {
		if err := fill(temp); err != nil {
			return err
		}
		return os.Chmod(temp, 0o640)
	})
}

func gone(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Await waits until root has answered a request, and returns why it was refused.
func Await(ctx context.Context, root record.Root, id string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if rec, err := root.Read(); err == nil && rec.Answer.ID == id {
			if rec.Answer.Reason != "" {
				return errors.New(rec.Answer.Reason)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody installs it: %w (systemctl status scanrelay-install.path says more)", context.Cause(ctx))
		case <-tick.C:
		}
	}
}
