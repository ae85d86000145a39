package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scanrelay/store/durable"
)

// Places on a gateway.
const (
	PackagedFolder = "/usr/lib/scanrelay"
	RootFolder     = "/var/lib/scanrelay-versions"
	OwnFolder      = "/var/lib/scanrelay/update"
)

// Program is the name of the binary in a version's folder.
const Program = "scanrelay"

// Names in the folder of the versions.
const (
	recordFile  = "record"
	releaseFile = "release"
	current     = "current"
)

// Record is what root knows of the versions.
type Record struct {
	Committed Release  `json:"committed"`        // runs, unless the packaged one is newer
	Previous  Release  `json:"previous"`         // was committed before
	Candidate Release  `json:"candidate"`        // is installed, and to be tried; zero: none
	Barred    []string `json:"barred,omitempty"` // digests that are never taken again
	Answer    Answer   `json:"answer"`
	Trust     []byte   `json:"trust,omitempty"` // what is known of the releases' metadata
}

// Answer is what became of the last request.
type Answer struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"` // why it was refused
}

// Root is the folder of the versions, which root alone writes.
type Root string

func (d Root) record() durable.Sealed {
	return durable.Sealed{Path: filepath.Join(string(d), recordFile), Title: "scanrelay-versions", Version: 1, Mode: 0o644}
}

func (d Root) release(version string) durable.Sealed {
	return durable.Sealed{Path: filepath.Join(string(d), version, releaseFile), Title: "scanrelay-release", Version: 1, Mode: 0o644}
}

// Folder is where a version lies.
func (d Root) Folder(r Release) string { return filepath.Join(string(d), r.Version) }

// Binary is its program.
func (d Root) Binary(r Release) string { return filepath.Join(d.Folder(r), Program) }

// Read returns the record. With an error it is what else is known: what `current`
// leads to is committed.
func (d Root) Read() (r Record, err error) {
	err = d.record().Peek(&r)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	r = Record{}
	if to, bad := os.Readlink(filepath.Join(string(d), current)); bad == nil && validVersion(to) {
		if is, bad := d.Installed(to); bad == nil {
			r.Committed = is
		}
	}
	return r, err
}

// Write replaces the record.
func (d Root) Write(r Record) error { return d.record().Write(r) }

// Installed tells what lies in a version's folder, by what was written when it was
// verified.
func (d Root) Installed(version string) (r Release, err error) {
	if err := d.release(version).Peek(&r); err != nil {
		return Release{}, err
	}
	if err := r.Check(); err != nil || r.Version != version {
		return Release{}, fmt.Errorf("folder %s: %w", version, errors.Join(err, durable.ErrDamaged))
	}
	return r, nil
}

// WriteRelease writes down what lies in a folder that is to be a version's.
func (d Root) WriteRelease(folder string, r Release) error { return d.release(folder).Write(r) }

// Link has `current` lead to a version. It tells whether it did not before.
func (d Root) Link(r Release, packagedFolder string) (mended bool, err error) {
	path, to := filepath.Join(string(d), current), r.Version
	if r.IsPackaged() {
		to = packagedFolder
	}
	if is, err := os.Readlink(path); err == nil && is == to {
		return false, nil
	}
	temp := path + durable.TempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("link %s: %w", current, err)
	}
	if err := errors.Join(os.Symlink(to, temp), os.Rename(temp, path)); err != nil {
		return false, fmt.Errorf("link %s: %w", current, err)
	}
	return true, durable.SyncDir(string(d))
}

// Linked is where `current` leads; "": nowhere.
func (d Root) Linked() string {
	to, _ := os.Readlink(filepath.Join(string(d), current))
	return to
}
