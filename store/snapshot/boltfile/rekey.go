package boltfile

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/values"
)

// Rekey wraps the keys in a folder that no centre uses under the first of these master
// keys, which together must open them, and returns how many it wrapped. Each file is done
// wholly or not at all; what is done is left when it is done again.
func Rekey(dir string, masters []masterkey.Key) (wrapped int, err error) {
	lock, err := lockStore(dir)
	if err != nil {
		return 0, err
	}
	if lock != nil {
		defer lock.Release()
	}
	for _, name := range []string{LogName, WaybillsName} {
		if there, err := Present(dir, name); err != nil || !there {
			return wrapped, errors.Join(err, errors.New(Missing[name]))
		}
		if err := Check(dir, name, true); err != nil {
			return wrapped, fmt.Errorf("%s: %w: start the centre, which mends it, before", name, err)
		}
	}
	for _, name := range []string{LogName, WaybillsName} {
		n, err := rekey(dir, name, masters)
		if wrapped += n; err != nil {
			return wrapped, fmt.Errorf("rekey %s: %w", name, err)
		}
	}
	return wrapped, nil
}

func rekey(dir, name string, masters []masterkey.Key) (wrapped int, err error) {
	db, err := Open(dir, name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, boltpage.Guard(db.Close)) }()
	err = boltpage.Guard(func() error {
		return db.Update(Summed(func(tx *bbolt.Tx) error {
			keys := tx.Bucket(Keys)
			if keys == nil {
				return errors.New("it is of a format before keys: start the centre, which makes it one of this, before")
			}
			var entries []datakey.Entry
			err := keys.ForEach(func(k, v []byte) error {
				e, err := values.DecodeKey(k, v)
				entries = append(entries, e)
				return err
			})
			if err != nil {
				return err
			}
			anew, err := datakey.Rewrap(masters, entries)
			for _, e := range anew {
				key, value := values.EncodeKey(e)
				err = errors.Join(err, keys.Put(key, value))
			}
			wrapped = len(anew)
			return err
		}))
	})
	return wrapped, err
}
