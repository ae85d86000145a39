package boltfile

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
)

// mapSize is how much address space a file gets at once, so that a writer need
// not wait for readers, a copy of minutes among them, to map it anew; no memory is
// used by it.
func mapSize(name string) int {
	switch {
	case bits.UintSize == 32:
		return 64 << 20
	case name == WaybillsName:
		return 1 << (bits.UintSize/2 + 5) // 128 GiB
	}
	return 1 << (bits.UintSize / 2) // 4 GiB
}

// Options are those by which bbolt opens a file.
func Options(name string) *bbolt.Options {
	return &bbolt.Options{
		Timeout: 5 * time.Second, OpenFile: durable.Open, FreelistType: bbolt.FreelistMapType, PageSize: boltpage.PageSize,
		InitialMmapSize: mapSize(name),
	}
}

// Open opens a file that exists, for reading only where its file system is
// read only. What it shows is on disk, unless it can only be read.
func Open(dir, name string) (db *bbolt.DB, err error) {
	path, o := filepath.Join(dir, name), Options(name)
	o.NoFreelistSync = true // a list of free pages that commit 7b28d06 left out is written with the next transaction, not now
	var f *os.File
	o.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		f, err = durable.Open(path, flag, mode)
		return f, err
	}
	err = boltpage.Confirm(path)
	if o.ReadOnly = errors.Is(err, syscall.EROFS); err != nil && !o.ReadOnly {
		return nil, err
	}
	if db, err = boltpage.OpenWith(path, o); err == nil && o.ReadOnly { // the folder's lock holds, and reopened must not wait for this one
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	db.AllocSize, db.NoFreelistSync = allocSize, false
	return db, nil
}

const allocSize = 1 << 20 // by which a file grows

// Create makes a file completely or not at all: a power cut while bbolt
// initialises one leaves what it will not open again.
func Create(dir, name string, fill func(tx *bbolt.Tx) error) error {
	return durable.Build(filepath.Join(dir, name), func(temp string) error { return Fill(temp, name, fill) })
}

// Fill is Create of a file under a name that is not its own yet.
func Fill(path, name string, fill func(tx *bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, Options(name))
	if err != nil {
		return err
	}
	db.AllocSize = allocSize
	err = db.Update(Summed(fill))
	return errors.Join(err, db.Close())
}

// Check tells what of a file bbolt would die of when it opens it, or, with
// all, whatever is wrong with it, and refuses one of a newer format.
func Check(dir, name string, all bool) error {
	f, err := boltpage.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Metas == 0 {
		return fmt.Errorf("%w: both meta pages", durable.ErrDamaged)
	}
	if err := CheckMeta(f, name); err != nil {
		return err
	}
	if _, err := f.Free(); err != nil {
		return err
	}
	if !all {
		return nil
	}
	holes, err := Survey(f, name, nil)
	if err == nil && len(holes) > 0 {
		err = holes[0]
	}
	return err
}
