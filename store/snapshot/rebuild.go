package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
)

// logJump is how far the log's numbers jump where waybills.db may hold numbers
// that the log does not: a state must never carry a number that is given again.
const logJump = 1 << 32

// rebuild reads the records behind merged into the tail.
func (b *Bolt) rebuild() error {
	start, hole, err := b.startOfTail()
	if err != nil {
		return err
	}
	return b.waybills.View(func(wtx *bolt.Tx) error {
		return b.log.View(func(ltx *bolt.Tx) error {
			s := newStage(b, wtx, start)
			s.frozen = hole
			if err := b.replay(ltx, s); err != nil {
				return err
			}
			s.publish()
			return nil
		})
	})
}

// startOfTail reconciles the two files and returns the number of the first
// record to replay, and whether records before it are missing.
func (b *Bolt) startOfTail() (start uint64, hole bool, _ error) {
	var first, last, truncated uint64
	err := b.log.View(func(tx *bolt.Tx) error {
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
	merged := b.merged.Load()
	switch fresh := last == 0; {
	case fresh && truncated > merged && truncated-merged == logJump:
		return truncated + 1, false, b.setMerged(truncated, false) // log.db was made anew
	case truncated > merged || !fresh && first > merged+1:
		b.damaged(fmt.Sprintf("%s is older than %s: depots send again from the start, import waybill data again", waybillsName, logName))
		begin := max(truncated, first-min(first, 1))
		return begin + 1, true, b.setMerged(begin, true)
	case max(last, truncated) < merged:
		b.damaged(fmt.Sprintf("%s is older than %s: nothing is lost", logName, waybillsName))
		jump := merged + logJump
		return jump + 1, false, errors.Join(b.setMerged(jump, false), b.emptyLog(jump))
	}
	return merged + 1, false, nil
}

// emptyLog drops all records, which are merged, and notes that.
func (b *Bolt) emptyLog(truncated uint64) error {
	return b.log.Update(func(tx *bolt.Tx) error {
		return errors.Join(tx.DeleteBucket(bucketLog), second(tx.CreateBucket(bucketLog)),
			putNumber(tx.Bucket(bucketMeta), metaTruncated, truncated))
	})
}

// setMerged moves merged; with forget it also lets every depot send again.
func (b *Bolt) setMerged(to uint64, forget bool) error {
	err := b.waybills.Update(func(tx *bolt.Tx) error {
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
	b.merged.Store(to)
	if forget {
		b.tail.depots = map[scan.DepotID]*depotState{}
	}
	return nil
}

func second(_ *bolt.Bucket, err error) error { return err }

// replay applies the log's records from s.next on.
func (b *Bolt) replay(tx *bolt.Tx, s *stage) error {
	c := tx.Bucket(bucketLog).Cursor()
	for k, v := c.Seek(number(s.next)); k != nil; k, v = c.Next() {
		if len(k) != 8 {
			return fmt.Errorf("log key of %d bytes", len(k))
		}
		n := binary.BigEndian.Uint64(k)
		r, err := decodeRecord(v)
		if err != nil || n != s.next {
			b.damaged(fmt.Sprintf("log record %d is unreadable: depots send again what came after it", s.next))
			s.frozen = true
		}
		s.next = n
		if err != nil {
			s.next++
			continue
		}
		s.apply(r)
	}
	return nil
}

func parseEpochKey(k []byte) (scan.DepotID, uint64, bool) {
	i := bytes.IndexByte(k, 0)
	if i < 0 || len(k) < i+9 {
		return "", 0, false
	}
	return scan.DepotID(k[:i]), binary.BigEndian.Uint64(k[i+1:]), true
}
