package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"

	"scanrelay/configs/secret"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/values"
)

// FoundKeys is what both files say of keys, which stand in both so that either survives
// what happens to the other.
type FoundKeys struct {
	Secret    []byte // by which phones are searched, in formats that have no keys
	entries   []datakey.Entry
	encrypted bool // a file is of a format that has keys
}

// ReadKeys reads the keys of the files of a folder, page by page. What cannot be read is
// left out; the other file may have it.
func ReadKeys(dir string) (found FoundKeys, _ error) {
	for _, name := range []string{LogName, WaybillsName} {
		f, err := boltpage.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return found, err
		}
		defer f.Close()
		m, err := ReadMeta(f)
		sound := err == nil && m.Sound()
		if sound {
			found.encrypted = found.encrypted || m.Number(MetaFormat) >= encrypted
			if secret := m.Get(MetaPhoneKey); len(secret) > 0 {
				found.Secret = secret
			}
		}
		whole := true
		f.Finder().Scan(string(Keys), nil, func(k, v []byte) bool {
			whole = found.take(k, v) && whole
			return true
		}, func(*boltpage.Hole) bool {
			whole = false
			return true
		})
		if !whole || !sound {
			found.strays(f)
		}
	}
	return found, nil
}

// take adds a key that can be read, and tells whether it can.
func (found *FoundKeys) take(k, v []byte) bool {
	e, err := values.DecodeKey(k, v)
	has := func(other datakey.Entry) bool { return other.Number == e.Number }
	if err == nil && !slices.ContainsFunc(found.entries, has) {
		found.entries = append(found.entries, e)
	}
	return err == nil
}

func (found *FoundKeys) has(number uint32) bool {
	return slices.ContainsFunc(found.entries, func(e datakey.Entry) bool { return e.Number == number })
}

// strays takes those that stand on pages which nothing leads to any more.
func (found *FoundKeys) strays(f *boltpage.File) {
	f.Strays(func(bucket bool, key, value []byte) {
		if !bucket {
			found.take(key, value)
		} else if bytes.Equal(key, Keys) {
			f.Inline(value, func(k, v []byte) { found.take(k, v) })
		}
	})
}

// Load puts them into a ring, if the master key is theirs.
func (found FoundKeys) Load(ring *datakey.Ring, given secret.Text, dataDir string) error {
	if len(found.entries) == 0 {
		if found.encrypted {
			return fmt.Errorf("%w: the store's own keys, without which nothing can be decrypted, are in neither %s nor %s: put a backup in their place", datakey.ErrKey, LogName, WaybillsName)
		}
		return nil
	}
	masters, err := datakey.Masters(given, dataDir, false)
	if err != nil {
		return err
	}
	return ring.Load(masters, found.entries)
}

// MendMaster makes a damaged copy of the master key in dir anew, by what it opens. It
// returns what to say of it; "": nothing.
func (found FoundKeys) MendMaster(dir string) (what string) {
	return datakey.MendFile(dir, found.entries)
}

// CheckKey tells whether the files of a folder can be decrypted with the master key that
// a centre with that data_dir has. It changes nothing.
func CheckKey(folder string, given secret.Text, dataDir string) error {
	found, err := ReadKeys(folder)
	if err == nil {
		err = found.Load(datakey.New(), given, dataDir)
	}
	return err
}

// PutKeys adds to a file the keys that it does not have, or that cannot be read.
func PutKeys(tx *bbolt.Tx, ring *datakey.Ring) error {
	b := tx.Bucket(Keys)
	for _, e := range ring.Entries() {
		key, value := values.EncodeKey(e)
		if _, err := values.DecodeKey(key, b.Get(key)); err != nil {
			if err := b.Put(key, value); err != nil {
				return err
			}
		}
	}
	return nil
}
