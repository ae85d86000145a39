package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"scanrelay/store/snapshot/judge"
)

// logJump is how far the log's numbers jump where waybills.db may hold numbers
// that the log does not: a state must never carry a number that is given again.
const logJump = 1 << 32

// rebuild reads the records behind merged into the tail.
func (s *Store) rebuild() error {
	start, hole, err := s.startOfTail()
	if err != nil {
		return err
	}
	return s.waybills.View(func(merged *bbolt.Tx) error {
		return s.log.View(func(log *bbolt.Tx) error { return s.replay(log, merged, start, hole) })
	})
}

// startOfTail reconciles the two files and returns the number of the first
// record to replay, and whether records before it are missing.
func (s *Store) startOfTail() (start uint64, hole bool, _ error) {
	var first, last, truncated uint64
	err := s.log.View(func(tx *bbolt.Tx) error {
		truncated = getNumber(tx.Bucket(bucketMeta), metaTruncated)
		c := tx.Bucket(bucketLog).Cursor()
		if k, _ := c.First(); len(k) == 8 {
			first = binary.BigEndian.Uint64(k)
		}
		if k, _ := c.Last(); len(k) == 8 {
			last = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	merged := s.merged.Load()
	switch fresh := last == 0; {
	case fresh && truncated > merged && truncated-merged == logJump:
		return truncated + 1, false, s.setMerged(truncated, false) // log.db was made anew
	case truncated > merged || !fresh && first > merged+1:
		s.damaged("%s is older than %s: depots send again from the start, import waybill data again", waybillsName, logName)
		begin := max(truncated, first-min(first, 1))
		return begin + 1, true, s.setMerged(begin, true)
	case max(last, truncated) < merged:
		s.damaged("%s is older than %s: nothing is lost", logName, waybillsName)
		jump := merged + logJump
		return jump + 1, false, errors.Join(s.setMerged(jump, false), s.emptyLog(jump))
	}
	return merged + 1, false, nil
}

// emptyLog drops all records, which are merged, and notes that.
func (s *Store) emptyLog(truncated uint64) error {
	return s.log.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket(bucketLog), second(tx.CreateBucket(bucketLog)),
			putNumber(tx.Bucket(bucketMeta), metaTruncated, truncated))
	})
}

// setMerged moves merged; with forget it also lets every depot send again.
func (s *Store) setMerged(to uint64, forget bool) error {
	err := s.waybills.Update(func(tx *bbolt.Tx) error {
		if forget {
			if err := errors.Join(tx.DeleteBucket(bucketDepots), second(tx.CreateBucket(bucketDepots))); err != nil {
				return err
			}
		}
		return putNumber(tx.Bucket(bucketMeta), metaMerged, to)
	})
	if err != nil {
		return err
	}
	s.merged.Store(to)
	if forget {
		clear(s.tail.Depots)
	}
	return nil
}

func second(_ *bbolt.Bucket, err error) error { return err }

// replay applies the log's records from number start on. Where records are
// missing before it, as where one is unreadable, no have rises.
func (s *Store) replay(log, merged *bbolt.Tx, start uint64, hole bool) error {
	g := judge.NewGroup(judge.NewFacts(), s.phoneSecret, start)
	g.Facts.Depots, g.Frozen = s.tail.Depots, hole
	next := start
	c := log.Bucket(bucketLog).Cursor()
	for k, v := c.Seek(number(start)); k != nil; k, v = c.Next() {
		if len(k) != 8 {
			return fmt.Errorf("log key of %d bytes", len(k))
		}
		n := binary.BigEndian.Uint64(k)
		r, err := decodeRecord(v)
		if err != nil || n != next {
			s.damaged("log record %d is unreadable: depots send again what came after it", next)
			g.Frozen = true
		}
		if next = n + 1; err != nil {
			continue
		}
		if _, read := g.Facts.Waybills[r.Waybill]; !read && r.Waybill != "" {
			g.Facts.Waybills[r.Waybill] = s.mergedState(merged, r.Waybill)
		}
		g.Apply(r, n)
	}
	s.tail.publish(g.Changed, next-1)
	return nil
}
