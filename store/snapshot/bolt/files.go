package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
)

// format is the version of both files.
const format = 1

const (
	logName      = "log.db"
	waybillsName = "waybills.db"
	lockName     = "lock"
)

var (
	bucketMeta     = []byte("meta")
	bucketLog      = []byte("log")
	bucketWaybills = []byte("waybills")
	bucketAnswers  = []byte("answers")
	bucketDepots   = []byte("depots")
	bucketBindings = []byte("bindings")
	bucketDamaged  = []byte("damaged")

	metaFormat    = []byte("format")
	metaStoreID   = []byte("store_id")
	metaPhoneKey  = []byte("phone_key")
	metaMerged    = []byte("merged")
	metaCount     = []byte("count")
	metaTruncated = []byte("truncated")
)

// lockFolder takes the folder for this process.
func lockFolder(dir string) (*durable.Lock, error) {
	l, err := durable.LockExclusive(filepath.Join(dir, lockName))
	if errors.Is(err, durable.ErrInUse) {
		return nil, fmt.Errorf("%s: %w", dir, snapshot.ErrInUse)
	}
	return l, err
}

// mapSize is how much address space a file gets at once, so that a writer need
// not wait for readers to map it anew; no memory is used by it.
func mapSize(name string) int {
	switch {
	case bits.UintSize == 32:
		return 64 << 20
	case name == waybillsName:
		return 1 << (bits.UintSize / 2) // 4 GiB
	}
	return 256 << 20
}

func boltOptions(name string) *bbolt.Options {
	return &bbolt.Options{
		Timeout: 5 * time.Second, FreelistType: bbolt.FreelistMapType, PageSize: boltpage.PageSize,
		NoFreelistSync: name == logName, InitialMmapSize: mapSize(name),
	}
}

// openFile opens a file that exists. bbolt panics on some damage.
func openFile(dir, name string) (db *bbolt.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("open %s: the file is damaged (%v): put a backup in its place", name, r)
		}
	}()
	db, err = bbolt.Open(filepath.Join(dir, name), 0o600, boltOptions(name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	db.AllocSize = 1 << 20
	return db, nil
}

// createFile makes a file completely or not at all: a power cut while bbolt
// initialises one leaves what it will not open again.
func createFile(dir, name string, fill func(tx *bbolt.Tx) error) error {
	return durable.Build(filepath.Join(dir, name), func(temp string) error {
		db, err := bbolt.Open(temp, 0o600, boltOptions(name))
		if err != nil {
			return err
		}
		err = db.Update(fill)
		return errors.Join(err, db.Close())
	})
}

// checkMeta refuses a file of another format or another store.
func checkMeta(db *bbolt.DB, name, storeID string) error {
	return db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("%s: no file of scanrelay's centre", name)
		}
		if v := getNumber(meta, metaFormat); v > format {
			return fmt.Errorf("%s: %w (format %d, this one knows %d)", name, snapshot.ErrNewer, v, format)
		} else if v == 0 {
			return fmt.Errorf("%s: no format version", name)
		}
		if id := string(meta.Get(metaStoreID)); storeID != "" && id != storeID {
			return fmt.Errorf("%s belongs to another store than %s: put files of one backup together", name, waybillsName)
		}
		return nil
	})
}

func getNumber(b *bbolt.Bucket, key []byte) uint64 {
	v := b.Get(key)
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func putNumber(b *bbolt.Bucket, key []byte, n uint64) error { return b.Put(key, number(n)) }
