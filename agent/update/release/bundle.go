package release

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"scanrelay/agent/update/trust"
	"scanrelay/store/durable"
)

// Bundle writes one file for a USB stick: the metadata and one version's program for one
// machine, as linux/arm/6.
func (r Repository) Bundle(ctx context.Context, name, version, machine, to string) (trust.Target, error) {
	v, err := r.Verify(ctx)
	if err != nil {
		return trust.Target{}, err
	}
	i := slices.IndexFunc(v.Targets, func(t trust.Target) bool {
		return t.Name == name && t.Version == version && t.Machine() == machine
	})
	if i < 0 {
		return trust.Target{}, fmt.Errorf("bundle: there is no %s %s for %s", name, version, machine)
	}
	t := v.Targets[i]
	files, err := r.metadata()
	if err != nil {
		return t, err
	}
	err = durable.Build(to, func(temp string) error {
		f, err := durable.Open(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
		w := tar.NewWriter(f)
		for _, file := range append(files, t.Stored()) {
			err = errors.Join(err, r.pack(w, file))
		}
		return errors.Join(err, w.Close(), f.Close())
	})
	return t, err
}

// metadata are the files that a gateway needs that has never seen the repository.
func (r Repository) metadata() (files []string, err error) {
	first, err := durable.ReadFile(r.path(fileOf(trust.Root, 1)))
	if err != nil {
		return nil, fmt.Errorf("read the first root: %w", err)
	}
	m, err := r.secondOpinion(first)
	if err != nil {
		return nil, fmt.Errorf("verify with go-tuf: %w", err)
	}
	for n := int64(1); n <= m.Root.Signed.Version; n++ {
		files = append(files, fileOf(trust.Root, n))
	}
	return append(files, fileOf(trust.Timestamp, 0), fileOf(trust.Snapshot, m.Snapshot.Signed.Version),
		fileOf(trust.Targets, m.Targets[trust.Targets].Signed.Version)), nil
}

// pack adds a file. All it says of itself is its name: the same repository gives the
// same bundle.
func (r Repository) pack(w *tar.Writer, name string) error {
	f, err := durable.Open(r.path(name), os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Size: info.Size(), Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	_, err = io.Copy(w, f)
	return err
}
