package bolt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
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
	_, err = readFile(s.file, func(merged *boltpage.Finder) (none struct{}, _ error) {
		return none, s.log.db.View(func(log *bbolt.Tx) error { return s.replay(log, merged, start, hole) })
	})
	return err
}

// startOfTail reconciles the two files and returns the number of the first
// record to replay, and whether records before it are missing.
func (s *Store) startOfTail() (start uint64, hole bool, _ error) {
	var first, last, truncated uint64
	var lives boltfile.Lives
	err := boltpage.Guard(func() error {
		return s.log.db.View(func(tx *bbolt.Tx) error {
			truncated, lives = boltfile.GetNumber(tx.Bucket(bucketMeta), metaTruncated), boltfile.GetLives(tx.Bucket(bucketMeta))
			c := tx.Bucket(bucketLog).Cursor()
			if k, _ := c.First(); len(k) == 8 {
				first = binary.BigEndian.Uint64(k)
			}
			if k, _ := c.Last(); len(k) == 8 {
				last = binary.BigEndian.Uint64(k)
			}
			return nil
		})
	})
	if err != nil {
		return 0, false, err
	}
	merged := s.merged.Load()
	if s.tail.lives.Apart(lives, min(merged, max(last, truncated))) {
		return s.join(lives, max(last, truncated))
	}
	s.tail.lives = s.tail.lives.Newer(lives)
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
		return jump + 1, false, errors.Join(s.setMerged(jump, false), second(s.swapLog(jump, nil, false)))
	}
	return merged + 1, false, nil
}

// setMerged moves merged; with forget it also lets every depot send again.
func (s *Store) setMerged(to uint64, forget bool) error {
	err := s.update(func(tx *bbolt.Tx) error {
		if forget {
			if err := errors.Join(tx.DeleteBucket(bucketDepots), second(tx.CreateBucket(bucketDepots))); err != nil {
				return err
			}
		}
		return boltfile.PutNumber(tx.Bucket(bucketMeta), metaMerged, to)
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

func second[T any](_ T, err error) error { return err }

// replay applies the log's records from number start on. Where records are
// missing before it, as where one is unreadable, no have rises.
func (s *Store) replay(log *bbolt.Tx, merged *boltpage.Finder, start uint64, hole bool) error {
	g := judge.NewGroup(judge.NewFacts(), s.phoneSecret, start)
	g.Facts.Depots, g.Frozen = s.tail.Depots, hole
	next, unopened := start, []string{}
	var why error
	c := log.Bucket(bucketLog).Cursor()
	for k, v := c.Seek(number(start)); k != nil; k, v = c.Next() {
		if len(k) != 8 {
			return fmt.Errorf("log key of %d bytes", len(k))
		}
		n := binary.BigEndian.Uint64(k)
		r, err := values.DecodeRecord(s.ring, k, v)
		lost := errors.Is(err, datakey.ErrKey)
		if lost {
			unopened, why = append(unopened, ""), cmp.Or(why, err)
			r, err = values.PeekRecord(k, v)
		}
		if err != nil || n != next {
			s.damaged("log record %d is unreadable: depots send again what came after it", next)
			g.Frozen = true
		}
		if next = n + 1; err != nil {
			continue
		}
		if err := s.facts(g, merged, r); err != nil {
			return err
		}
		if r.Kind == judge.RecordAgain {
			s.again.Store(n)
		}
		if lost {
			unopened[len(unopened)-1] = string(r.Waybill)
			g.Lose(r, n)
		} else {
			g.Apply(r, n)
		}
	}
	if n := len(unopened); n > 0 {
		slices.Sort(unopened)
		unopened = slices.Compact(unopened)
		s.keepLog = true // with the key it can be read
		s.damaged("%d records of the log cannot be decrypted (%v): depots send again what came since; import data again of their waybills, among which are %s; the log is kept beside the next one",
			n, why, strings.Join(unopened[:min(len(unopened), 20)], " "))
	}
	s.tail.publish(g.Changed, next-1)
	return nil
}

// facts gives a group what waybills.db has of a record's waybills, unless it has that.
// Those that can be read no more begin anew.
func (s *Store) facts(g *judge.Group, merged *boltpage.Finder, r *judge.Record) (err error) {
	for _, id := range []scan.WaybillID{r.Waybill, r.Mother} {
		if _, read := g.Facts.Waybills[id]; read || id == "" {
			continue
		}
		if g.Facts.Waybills[id], err = s.mergedState(merged, id); errors.Is(err, datakey.ErrKey) {
			g.Facts.Waybills[id], err = &judge.State{Anew: true}, nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
