package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// openWaybills opens waybills.db, or makes one where there is nothing at all. One
// that bbolt would die of is mended first; the rest is looked at behind it.
func (s *Store) openWaybills() (err error) {
	there, err := boltfile.Present(s.dir, waybillsName)
	if err == nil && !there {
		err = s.createWaybills()
	}
	if err != nil {
		return err
	}
	_ = os.RemoveAll(filepath.Join(s.dir, Building)) // of a copy all of which has its place: nothing in it counts
	if err := boltfile.Check(s.dir, waybillsName, false); isDamage(err) {
		s.damaged("%s: %v", waybillsName, err)
		return s.remend()
	} else if err != nil {
		return err
	}
	if err = s.open(); isDamage(err) {
		s.damaged("%s: %v", waybillsName, err)
		return s.remend()
	}
	return err
}

// remend mends waybills.db and opens it.
func (s *Store) remend() error {
	if s.file != nil {
		if err := s.file.close(); err != nil {
			return err
		}
		s.file = nil
	}
	if err := s.mend(waybillsName); err != nil {
		return fmt.Errorf("mend %s: %w", waybillsName, err)
	}
	s.tail.Facts = judge.NewFacts()
	return s.open()
}

func (s *Store) open() (err error) {
	if s.file, err = openPaged(s.dir, waybillsName); err != nil {
		return err
	}
	return boltpage.Guard(func() error { return s.file.db.View(s.readWaybills) })
}

// createWaybills refuses to start afresh beside a log of something.
func (s *Store) createWaybills() error {
	if orphan, err := boltfile.Present(s.dir, logName); err != nil {
		return err
	} else if unfinished, err := boltfile.Present(s.dir, Building); err != nil {
		return err
	} else if unfinished {
		return fmt.Errorf("%s has %s: a backup was not put back to its end; restore again, or remove it to start with nothing", s.dir, Building)
	} else if orphan {
		return fmt.Errorf("%s lacks %s but has %s: put back both from one backup, or move %s away to start with nothing",
			s.dir, waybillsName, logName, logName)
	}
	if err := s.ready(); err != nil {
		return err
	}
	return boltfile.Create(s.dir, waybillsName, func(tx *bbolt.Tx) error {
		if err := boltpage.MakeBuckets(tx, append(boltfile.Buckets(waybillsName), bucketMeta)...); err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(boltfile.PutNumber(meta, metaFormat, format), boltfile.PutNumber(meta, metaMerged, 0), boltfile.PutNumber(meta, metaCount, 0), boltfile.PutNumber(meta, boltfile.MetaStates, 0),
			meta.Put(metaStoreID, newID()), meta.Put(metaIndexed, []byte{1}), meta.Put(metaEncrypted, []byte{1}), boltfile.PutKeys(tx, s.ring))
	})
}

// readWaybills reads what is kept in memory of waybills.db.
func (s *Store) readWaybills(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	s.id = string(meta.Get(metaStoreID))
	if s.id == "" {
		return fmt.Errorf("%s has no store id: put a backup in its place", waybillsName)
	}
	s.merged.Store(boltfile.GetNumber(meta, metaMerged))
	s.count.Store(boltfile.GetNumber(meta, metaCount))
	s.lost.Missing = s.lost.Missing.With(boltfile.ReadMissing(meta))
	s.tail.lives = boltfile.GetLives(meta)
	s.horizon = values.DecodeHorizon(metaHorizon, meta.Get(metaHorizon))
	s.indexed, s.unindexed = len(meta.Get(metaIndexed)) > 0, nil
	s.older.Store(tx.Bucket(bucketAnswers) != nil)
	s.isClear = s.clearing.Resume(meta)
	if err := s.readHoles(tx); err != nil {
		return err
	}
	return tx.Bucket(bucketDepots).ForEach(func(k, v []byte) error {
		depot, epoch, _ := values.ParseEpochKey(k)
		e, err := values.DecodeEpoch(k, v)
		if err != nil || max(e.Last, e.Again) > values.MaxNumber {
			s.damaged("the numbering of depot %s, epoch %016x is unreadable: it sends again", depot, epoch)
			return nil
		}
		d := s.tail.Depots[depot]
		if d == nil {
			d = &judge.Numbering{}
			s.tail.Depots[depot] = d
		}
		d.Epochs = append(d.Epochs, e)
		return nil
	})
}

// openLog opens log.db, or makes one where there is none: then what was in it
// is lost, which the depots make good. All of it is looked at before.
func (s *Store) openLog() error {
	exists, err := boltfile.Present(s.dir, logName)
	if err != nil {
		return err
	}
	if !exists {
		if err := s.createLog(); err != nil {
			return err
		}
	}
	if err := boltfile.Check(s.dir, logName, true); isDamage(err) {
		s.damaged("%s: %v", logName, err)
		if err := s.mend(logName); err != nil {
			return fmt.Errorf("mend %s: %w", logName, err)
		}
	} else if err != nil {
		return err
	}
	f, err := openPaged(s.dir, logName)
	if err != nil {
		return err
	}
	s.useLog(f)
	s.readOnly.Store(f.db.IsReadOnly())
	return boltpage.Guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			s.logClear.Store(tx.Bucket(bucketMeta).Get(metaEncrypted) == nil)
			s.readLost(tx.Bucket(bucketMeta))
			return s.nameLog(tx)
		})
	})
}

// upgrade makes a file of an older format one of this one, in front of the first
// transaction that changes it: to be read it needs no room on its disk. Commit
// 7b28d06 wrote format 1, which lacks buckets; before 3 each answer had a value of
// its own, see blocksOfOld; before 4 nothing was encrypted, see encrypt.
func upgrade(tx *bbolt.Tx, name string) error {
	meta := tx.Bucket(bucketMeta)
	if boltfile.GetNumber(meta, metaFormat) == format {
		return nil
	}
	for _, b := range boltfile.Buckets(name) {
		if _, err := tx.CreateBucketIfNotExists(b); err != nil {
			return err
		}
	}
	if err := meta.Delete(boltfile.MetaPhoneKey); err != nil { // it stands among the keys from now on
		return err
	}
	return boltfile.PutNumber(meta, metaFormat, format)
}

// nameLog refuses another store's log.
func (s *Store) nameLog(tx *bbolt.Tx) error {
	if id := string(tx.Bucket(bucketMeta).Get(metaStoreID)); id != s.id {
		return fmt.Errorf("%s belongs to another store than %s: put files of one backup together", logName, waybillsName)
	}
	return nil
}

func (s *Store) createLog() error {
	start := s.merged.Load()
	if start > 0 || s.count.Load() > 0 {
		s.damaged("%s is missing: what had not been merged is lost; depots send theirs again, import waybill data again", logName)
		start += logJump
	}
	_, err := s.makeLog(start, nil, false)
	return err
}
