package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
)

const (
	format       = boltfile.Format
	logName      = boltfile.LogName
	waybillsName = boltfile.WaybillsName
	lockName     = "lock"
)

var (
	bucketMeta     = boltfile.Meta
	bucketLog      = boltfile.Log
	bucketWaybills = boltfile.Waybills
	bucketNumbers  = boltfile.Numbers
	bucketAnswers  = boltfile.Answers
	bucketDepots   = boltfile.Depots
	bucketBindings = boltfile.Bindings
	bucketDamaged  = boltfile.Damaged
	bucketHoles    = boltfile.Holes
	bucketAging    = boltfile.Aging
	bucketKeys     = boltfile.Keys

	metaFormat    = boltfile.MetaFormat
	metaStoreID   = boltfile.MetaStoreID
	metaMerged    = boltfile.MetaMerged
	metaTruncated = boltfile.MetaTruncated
	metaEncrypted = boltfile.MetaEncrypted
	metaCount     = []byte("count")
	metaHorizon   = []byte("horizon")
	metaAgain     = []byte("again")
	metaIndexed   = []byte("indexed")
	metaRestored  = []byte("restored")
)

// lockFolder takes the folder for this process. It returns nil where the file system
// is read only and has no lock: nobody can write there, and a copy has none.
func lockFolder(dir string) (*durable.Lock, error) {
	l, err := durable.LockExclusive(filepath.Join(dir, lockName))
	switch {
	case errors.Is(err, durable.ErrInUse):
		return nil, fmt.Errorf("%s: %w", dir, snapshot.ErrInUse)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	}
	return l, err
}

// mapSize is how much address space a file gets at once, so that a writer need
// not wait for readers, a copy of minutes among them, to map it anew; no memory is
// used by it.
func mapSize(name string) int {
	switch {
	case bits.UintSize == 32:
		return 64 << 20
	case name == waybillsName:
		return 1 << (bits.UintSize/2 + 5) // 128 GiB
	}
	return 1 << (bits.UintSize / 2) // 4 GiB
}

func boltOptions(name string) *bbolt.Options {
	return &bbolt.Options{
		Timeout: 5 * time.Second, FreelistType: bbolt.FreelistMapType, PageSize: boltpage.PageSize,
		InitialMmapSize: mapSize(name),
	}
}

// openFile opens a file that exists, for reading only where its file system is
// read only. What it shows is on disk, unless it can only be read.
func openFile(dir, name string) (db *bbolt.DB, err error) {
	path, o := filepath.Join(dir, name), boltOptions(name)
	o.NoFreelistSync = true // a list of free pages that commit 7b28d06 left out is written with the next transaction, not now
	var f *os.File
	o.OpenFile = func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
		f, err = os.OpenFile(path, flag, mode)
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

// createFile makes a file completely or not at all: a power cut while bbolt
// initialises one leaves what it will not open again.
func createFile(dir, name string, fill func(tx *bbolt.Tx) error) error {
	return durable.Build(filepath.Join(dir, name), func(temp string) error { return fillFile(temp, name, fill) })
}

func fillFile(path, name string, fill func(tx *bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, boltOptions(name))
	if err != nil {
		return err
	}
	db.AllocSize = allocSize
	err = db.Update(boltfile.Summed(fill))
	return errors.Join(err, db.Close())
}
