package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot/archive"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/rollout"
)

// Restoring is how an archive is put back.
type Restoring struct {
	Dir         string      // data_dir
	Revocations string      // the file of what was revoked since; "": there is none any more
	Key         secret.Text // store.key
	Who         string      // for the audit log
	Now         func() time.Time

	ended []byte       // what stands there
	step  func(string) // tests: before each file gets its place
}

// placed are the files that are put in place, in that order. No centre starts before
// the last one has its place: bolt.Building is there, or log.db without waybills.db.
func placed() []string {
	files := append([]string{bolt.LogName, identity.JournalName, identity.EndedName}, audit.Names()...)
	return append(files, bolt.WaybillsName)
}

// Restore puts an archive into an empty folder: all of it or, after an error, nothing.
func (o *Restoring) Restore(ctx context.Context, r io.Reader) (archive.Summary, error) {
	var s archive.Summary
	if err := errors.Join(o.prepare(), o.readEnded()); err != nil {
		return s, err
	}
	path := filepath.Join(o.Dir, bolt.LockName)
	there := durable.Exists(path)
	lock, err := durable.LockExclusive(path) // no centre starts meanwhile
	if err != nil {
		return s, err
	}
	defer func() {
		if err != nil && !there {
			_ = lock.Remove() // what stays holds nobody up
		} else {
			lock.Release()
		}
	}()
	temp := filepath.Join(o.Dir, bolt.Building)
	if err = o.clear(); err == nil {
		err = os.Mkdir(temp, 0o700)
	}
	if err == nil {
		s, err = o.build(ctx, temp, r)
	}
	if err != nil {
		err = errors.Join(err, os.RemoveAll(temp))
		if durable.NoSpace(err) {
			err = fmt.Errorf("there is no room for it: %w", err)
		}
		return s, err
	}
	if err = o.place(temp); err != nil {
		there = true // what has its place stays, and the lock with it
		return s, fmt.Errorf("put the files in place: %w; restore again", err)
	}
	return s, nil
}

// prepare refuses a folder that is not empty, but for what an earlier restore left
// that did not come to its end.
func (o *Restoring) prepare() error {
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	entries, err := durable.ReadDir(o.Dir)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	spare := []string{bolt.KeyName, bolt.Building, bolt.LockName, identity.LockName, "lost+found"}
	if o.unfinished() {
		spare = append(spare, placed()...)
	}
	var others []string
	for _, e := range entries {
		if !slices.Contains(spare, e.Name()) {
			others = append(others, e.Name())
		}
	}
	if len(others) == 0 {
		return nil
	}
	if durable.Exists(filepath.Join(o.Dir, bolt.Building)) && durable.Exists(filepath.Join(o.Dir, bolt.WaybillsName)) {
		return fmt.Errorf("data_dir %s: a backup is in place already: start the centre", o.Dir)
	}
	if len(others) > 5 {
		others = append(others[:5], "…")
	}
	return fmt.Errorf("data_dir %s is not empty (%s): stop the centre and move all of it elsewhere; %s is wanted from there",
		o.Dir, strings.Join(others, ", "), identity.EndedName)
}

// unfinished reports whether a restore ended before waybills.db had its place.
func (o *Restoring) unfinished() bool {
	return durable.Exists(filepath.Join(o.Dir, bolt.Building)) && !durable.Exists(filepath.Join(o.Dir, bolt.WaybillsName))
}

// clear removes what such a one left.
func (o *Restoring) clear() error {
	if !o.unfinished() {
		return nil
	}
	for _, name := range placed() {
		if err := os.Remove(filepath.Join(o.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(o.Dir, bolt.Building))
}

// build makes all files, and looks at them as a centre would.
func (o *Restoring) build(ctx context.Context, dir string, r io.Reader) (s archive.Summary, err error) {
	allowed := slices.DeleteFunc(placed(), func(name string) bool { return name == identity.EndedName })
	if s, err = archive.Unpack(ctx, dir, r, allowed); err != nil {
		return s, err
	}
	for _, name := range []string{bolt.WaybillsName, bolt.LogName} {
		if !durable.Exists(filepath.Join(dir, name)) {
			return s, fmt.Errorf("the backup lacks a file of the store: %s", name)
		}
	}
	var bad []string
	problem := func(what string) { bad = append(bad, what) }
	if _, err = boltfile.CheckFolder(dir, problem); err == nil {
		err = identity.CheckJournal(dir, problem)
	}
	switch {
	case err != nil:
		return s, err
	case len(bad) > 0:
		return s, fmt.Errorf("%w: the backup holds what is damaged: %s", durable.ErrDamaged, bad[0])
	}
	if err := boltfile.CheckKey(dir, o.Key, o.Dir); err != nil {
		return s, err
	}
	if err := boltfile.MarkRestored(dir, s.At, o.Now()); err != nil {
		return s, err
	}
	if err := o.pause(ctx, dir); err != nil {
		return s, err
	}
	detail := "as of " + s.At.Format(time.RFC3339) + ", without revocations"
	if o.Revocations != "" {
		detail = strings.TrimSuffix(detail, "out revocations") + " revocations"
		if err := durable.Create(filepath.Join(dir, identity.EndedName), o.ended); err != nil {
			return s, err
		}
	}
	log := audit.Open(dir, o.Now)
	err = log.Add(audit.Entry{Who: o.Who, Action: "store.restore", Result: audit.OK, Detail: detail})
	if err = errors.Join(err, log.Close()); err == nil {
		err = durable.SyncDir(dir)
	}
	return s, err
}

// pause holds the rollout that was on when the backup was made.
func (o *Restoring) pause(ctx context.Context, dir string) error {
	if !durable.Exists(filepath.Join(dir, identity.JournalName)) {
		return nil
	}
	j, err := identity.OpenJournal(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	err = rollout.Restored(ctx, j, o.Now())
	if errors.Is(err, durable.ErrDamaged) {
		err = nil // by it no gateway is told anything
	}
	return errors.Join(err, j.Close())
}

// readEnded reads the file of what was revoked.
func (o *Restoring) readEnded() (err error) {
	if o.Revocations == "" {
		return nil
	}
	if o.ended, err = os.ReadFile(o.Revocations); err == nil {
		err = identity.CheckEnded(o.ended)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--revocations: %w (where nothing was ever revoked there is none: --without-revocations)", err)
	case err != nil:
		return fmt.Errorf("--revocations %s: %w", o.Revocations, err)
	}
	return nil
}

// place gives the files their places.
func (o *Restoring) place(temp string) error {
	for _, name := range placed() {
		if !durable.Exists(filepath.Join(temp, name)) {
			continue
		}
		if o.step != nil {
			o.step(name)
		}
		err := os.Rename(filepath.Join(temp, name), filepath.Join(o.Dir, name))
		if err == nil {
			err = durable.SyncDir(o.Dir) // they have their places in this order, also after a power cut
		}
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(temp) // the lock that the check made is in it
}
