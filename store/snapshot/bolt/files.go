package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

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
	metaRestored  = boltfile.MetaRestored
	metaCount     = []byte("count")
	metaHorizon   = []byte("horizon")
	metaAgain     = []byte("again")
	metaIndexed   = []byte("indexed")
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
