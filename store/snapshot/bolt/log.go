package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"

	"scanrelay/configs/wait"
	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// The log only grows, so its list of free pages stays short. Once it is big it is made anew of what is not merged.

// useLog puts another log in the place of the open one, which it returns.
func (s *Store) useLog(next *file) (old *file) {
	old, s.log, s.logUpdate = s.log, next, next.update
	return old
}

// updateLog is a transaction on the log, which only the committer makes once the
// store is open. The pages that lead to the log's end are looked at first.
func (s *Store) updateLog(fn func(tx *bbolt.Tx) error) error {
	if err := s.reopenLog(); err != nil {
		return err
	}
	_, err := readFile(s.log, func(r *boltpage.Finder) (none struct{}, _ error) {
		_, err := r.Get(string(bucketMeta), metaFormat)
		if err == nil {
			_, err = r.Get(string(bucketLog), number(1<<64-1))
		}
		return none, err
	})
	if err != nil {
		return err
	}
	return s.updateFile(s.log, logName, s.logUpdate, func(tx *bbolt.Tx) error {
		if err := s.nameLog(tx); err != nil {
			return err
		}
		return fn(tx)
	})
}

// write commits the records of a group.
func (s *Store) write(first uint64, records []*judge.Record) error {
	var lines []write
	err := s.ready()
	for i, r := range records {
		if err == nil {
			key := number(first + uint64(i))
			lines = append(lines, write{key: key, value: values.EncodeRecord(s.ring, key, r)})
		}
	}
	if err == nil {
		err = s.tryWrite(lines)
	}
	if s.spoil(err) { // found now: perhaps it is mended at once
		err = s.tryWrite(lines)
	}
	switch {
	case err == nil:
		s.block(nil)
		return nil
	case refused(err), errors.Is(err, snapshot.ErrDamaged), s.spoil(err):
		s.block(err)
		return fmt.Errorf("write %s: %w", logName, err)
	}
	return s.fail(err)
}

func (s *Store) tryWrite(records []write) error {
	if err := s.mendLog(); err != nil {
		return err
	}
	lives := s.tail.knownLives()
	begins := !s.lives && len(records) > 0
	if begins {
		lives = lives.Begin(binary.BigEndian.Uint64(records[0].key), s.o.Now().Unix())
	}
	err := s.updateLog(func(tx *bbolt.Tx) error {
		var err error
		if s.unkept {
			err = boltfile.PutLost(tx.Bucket(bucketMeta), s.lost)
		}
		if begins {
			err = errors.Join(err, boltfile.PutLives(tx.Bucket(bucketMeta), lives))
		}
		return errors.Join(err, putRecords(tx, records))
	})
	if s.unkept = s.unkept && err != nil; err == nil && begins {
		s.lives = true
		s.tail.setLives(lives)
	}
	return err
}

func putRecords(tx *bbolt.Tx, records []write) error {
	log := tx.Bucket(bucketLog)
	log.FillPercent = 1 // keys only rise: pages are left full
	for _, r := range records {
		if err := log.Put(r.key, r.value); err != nil {
			return err
		}
	}
	return nil
}

// spoil notes that the log is damaged, if that is what the error says.
func (s *Store) spoil(err error) bool {
	if !isDamage(err) {
		return false
	}
	s.spoiled = true
	s.damaged("%s: %v", logName, err)
	return true
}

// mendLog makes a spoiled log anew, once the merger has carried all that it held from the tail into waybills.db.
func (s *Store) mendLog() error {
	if !s.spoiled {
		return nil
	}
	merged := s.merged.Load()
	if merged < s.tail.lastNumber() {
		wait.Signal(s.merge)
		return fmt.Errorf("%w: %s is made anew once all in it is merged", snapshot.ErrDamaged, logName)
	}
	kept, err := s.swapLog(merged, nil, true)
	if err != nil {
		return fmt.Errorf("%w: %w", snapshot.ErrDamaged, err)
	}
	s.damaged("%s was damaged while it was in use: nothing of it is lost; the damaged file is kept as %s", logName, kept)
	s.spoiled = false
	return nil
}

// trimLog makes a big log anew of what is not merged.
func (s *Store) trimLog() {
	size, err := s.log.pages.Size()
	if err == nil && (size > s.o.LogSize || s.logClear.Load() || s.keepLog) && !s.spoiled && !s.readOnly.Load() {
		if err = s.copyLog(); s.spoil(err) {
			err = nil
		}
	}
	if err == nil {
		err = s.mendLog()
	}
	if err != nil && s.usable() == nil {
		s.tell(&s.untrimmed, "make the log anew: trying again", err)
	}
}

func (s *Store) copyLog() error {
	if err := s.ready(); err != nil {
		return err
	}
	merged, last := s.merged.Load(), s.tail.lastNumber()
	kept, err := readFile(s.log, func(r *boltpage.Finder) (kept []write, err error) {
		r.Scan(string(bucketLog), number(merged+1), func(k, v []byte) bool {
			if err = values.Check(string(bucketLog))(k, v); err != nil || binary.BigEndian.Uint64(k) > last {
				return false
			}
			key, value := bytes.Clone(k), bytes.Clone(v)
			if values.InClear(string(bucketLog), v) {
				var rec *judge.Record
				if rec, err = values.DecodeRecord(nil, k, v); err == nil {
					value = values.EncodeRecord(s.ring, key, rec)
				}
			}
			kept = append(kept, write{key: key, value: value})
			return err == nil
		}, func(h *boltpage.Hole) bool {
			err = h
			return false
		})
		return kept, err
	})
	if err != nil {
		return err
	}
	aside, err := s.swapLog(merged, kept, s.keepLog)
	if err == nil && s.keepLog {
		s.keepLog = false
		s.damaged("%s with what could not be decrypted is kept as %s", logName, aside)
	}
	return err
}

// swapLog puts a new log in the place of the open one, which with aside is kept under
// another name.
func (s *Store) swapLog(truncated uint64, records []write, aside bool) (kept string, err error) {
	if err := s.log.place.Look(); err != nil {
		return "", s.fail(err)
	}
	if kept, err = s.makeLog(truncated, records, aside); err != nil {
		return "", err
	}
	next, err := openPaged(s.dir, logName)
	if err != nil {
		return "", s.fail(err)
	}
	s.logClear.Store(false)
	old := s.useLog(next)
	s.loops.Go(func() { // nothing in it is needed any more but by who copies it
		old.users.Wait()
		_ = old.close()
	})
	return kept, nil
}

// makeLog makes log.db with these records; truncated is the highest number that is
// in waybills.db alone.
func (s *Store) makeLog(truncated uint64, records []write, aside bool) (kept string, err error) {
	if err := s.ready(); err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, logName)
	err = durable.Build(path, func(temp string) error {
		err := boltfile.Fill(temp, logName, func(tx *bbolt.Tx) error {
			if err := boltpage.MakeBuckets(tx, append(boltfile.Buckets(logName), bucketMeta)...); err != nil {
				return err
			}
			meta := tx.Bucket(bucketMeta)
			err := errors.Join(boltfile.PutNumber(meta, metaFormat, format), meta.Put(metaStoreID, []byte(s.id)),
				meta.Put(metaEncrypted, []byte{1}), boltfile.PutNumber(meta, metaTruncated, truncated), boltfile.PutKeys(tx, s.ring), boltfile.PutLost(meta, s.lost),
				boltfile.PutLives(meta, s.tail.knownLives()))
			return errors.Join(err, putRecords(tx, records))
		})
		if err == nil && aside {
			kept = durable.AsideName(path)
			err = durable.SetAside(path, kept)
		}
		return err
	})
	return filepath.Base(kept), err
}
