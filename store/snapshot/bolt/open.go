package bolt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/judge"
)

// openWaybills opens waybills.db, or makes one where there is nothing at all.
func (s *Store) openWaybills(dir string) error {
	there, err := present(dir, waybillsName)
	if err == nil && !there {
		err = createWaybills(dir)
	}
	if err != nil {
		return err
	}
	if s.waybills, err = openFile(dir, waybillsName); err != nil {
		return err
	}
	if err := checkMeta(s.waybills, waybillsName, ""); err != nil {
		return err
	}
	return s.waybills.View(s.readWaybills)
}

// createWaybills refuses to start afresh beside a log of something.
func createWaybills(dir string) error {
	if orphan, err := present(dir, logName); err != nil {
		return err
	} else if orphan {
		return fmt.Errorf("%s lacks %s but has %s: put back both from one backup, or move %s away to start with nothing",
			dir, waybillsName, logName, logName)
	}
	id, secret := make([]byte, 16), make([]byte, 32)
	rand.Read(id) // never fails
	rand.Read(secret)
	return createFile(dir, waybillsName, func(tx *bbolt.Tx) error {
		err := boltpage.MakeBuckets(tx, bucketMeta, bucketWaybills, bucketAnswers, bucketDepots, bucketBindings, bucketDamaged)
		if err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(putNumber(meta, metaFormat, format), putNumber(meta, metaMerged, 0), putNumber(meta, metaCount, 0),
			meta.Put(metaStoreID, []byte(hex.EncodeToString(id))), meta.Put(metaPhoneKey, secret))
	})
}

// readWaybills reads what is kept in memory of waybills.db.
func (s *Store) readWaybills(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	s.id = string(meta.Get(metaStoreID))
	s.phoneSecret = append([]byte(nil), meta.Get(metaPhoneKey)...)
	if s.id == "" || len(s.phoneSecret) == 0 {
		return fmt.Errorf("%s has no store id or key: put a backup in its place", waybillsName)
	}
	s.merged.Store(getNumber(meta, metaMerged))
	s.count.Store(getNumber(meta, metaCount))
	return tx.Bucket(bucketDepots).ForEach(func(k, v []byte) error {
		depot, epoch, ok := parseEpochKey(k)
		if !ok {
			s.damaged("a depot's numbering is filed under a broken key")
			return nil
		}
		e, err := decodeEpoch(epoch, v)
		if err != nil {
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
// is lost, which the depots make good.
func (s *Store) openLog(dir string) error {
	exists, err := present(dir, logName)
	if err != nil {
		return err
	}
	if !exists {
		if err := s.createLog(dir); err != nil {
			return err
		}
	}
	if s.log, err = openFile(dir, logName); err != nil {
		return err
	}
	return checkMeta(s.log, logName, s.id)
}

func (s *Store) createLog(dir string) error {
	start := s.merged.Load()
	if start > 0 || s.count.Load() > 0 {
		s.damaged("%s is missing: what had not been merged is lost; depots send theirs again, import waybill data again", logName)
		start += logJump
	}
	return createFile(dir, logName, func(tx *bbolt.Tx) error {
		if err := boltpage.MakeBuckets(tx, bucketMeta, bucketLog); err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(putNumber(meta, metaFormat, format), meta.Put(metaStoreID, []byte(s.id)),
			putNumber(meta, metaTruncated, start))
	})
}

func present(dir, name string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
