package bolt

import (
	"errors"
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"

	"scanrelay/configs/secret"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
)

// openKeys takes the keys that the files have, or refuses the master key, before
// anything is changed.
func (s *Store) openKeys() error {
	found, err := boltfile.ReadKeys(s.dir)
	if err != nil {
		return err
	}
	// Before it is read: of two copies that differ the first would be the one to wrap with.
	if what := found.MendMaster(s.dir); what != "" {
		s.o.Logger.Warn("master key", "what", what)
	}
	if err := found.Load(s.ring, s.o.Key, s.dir); err != nil {
		return err
	}
	if s.phoneSecret = s.ring.Secret(); s.phoneSecret != nil {
		return nil
	}
	if s.ring.Ready() {
		s.damaged("the secret under which phones are filed is lost in both files: which of them are bound is learned again")
	}
	if s.phoneSecret = found.Secret; len(s.phoneSecret) == 0 {
		s.phoneSecret = newSecret()
	} else if !s.ring.Ready() { // in clear: without room for a key all can be read
		if err := s.ready(); !refused(err) {
			return err
		}
	}
	return nil
}

// UseKey takes other master keys while the store is in use, see Options.Key. They must open
// all data keys: else nothing is changed.
func (s *Store) UseKey(key secret.Text) error {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	masters, err := datakey.Masters(key, s.dir, false)
	if err = s.ring.Use(s.ring.Entries(), masters, err); err == nil {
		s.o.Key = key
	}
	return err
}

// ready makes the keys that a store lacks, all of them where a format before had none,
// and this month's. It comes before whatever is written: what is encrypted is stored no earlier
// than its key.
func (s *Store) ready() error {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	if s.ring.Ready() && s.ring.Secret() != nil {
		if e, due := s.ring.Next(s.o.Now()); due {
			return s.ring.Take(e)
		}
		return nil
	}
	masters, err := datakey.Masters(s.o.Key, s.dir, true)
	if errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("make %s: %w", datakey.FileName, errReadOnly)
	}
	if err != nil {
		return err
	}
	return s.ring.Begin(masters, s.phoneSecret, s.o.Now())
}

// updateFile is a transaction on a file that is made one of this format, with all keys,
// in front of the first that changes it.
func (s *Store) updateFile(f *file, name string, update func(fn func(tx *bbolt.Tx) error) error, fn func(tx *bbolt.Tx) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	version := s.ring.Version()
	if f.keys != version {
		if _, err := readFile(f, func(r *boltpage.Finder) ([]byte, error) { return r.Get(string(bucketKeys), datakey.EntryKey(0)) }); err != nil {
			return err
		}
	}
	err := update(func(tx *bbolt.Tx) error {
		if err := upgrade(tx, name); err != nil {
			return err
		}
		if f.keys != version {
			if err := boltfile.PutKeys(tx, s.ring); err != nil {
				return err
			}
		}
		return fn(tx)
	})
	if err == nil {
		f.keys = version
	}
	return err
}
