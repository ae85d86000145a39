package bolt

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/judge"
)

// mergeChunk is how many keys one transaction of a merge writes: it bounds the
// memory that bbolt takes for changed pages.
const mergeChunk = 4000

// mergeLoop is the merger: the only one who takes from the tail.
func (s *Store) mergeLoop() {
	tick := time.NewTicker(s.o.MergeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.merge:
		case <-s.life.Done():
			return
		}
		s.mergeMu.Lock()
		err := s.mergeTail()
		s.mergeMu.Unlock()
		if err != nil && s.usable() == nil {
			s.o.Logger.Error("merge waybills: no room on disk, trying again", "err", err)
		}
	}
}

// copied is the tail at one moment. What it points to is immutable.
type copied struct {
	judge.Facts
	last uint64
}

func (t *tail) copy() *copied {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return &copied{last: t.last, Facts: judge.Facts{
		Waybills: maps.Clone(t.Waybills), Answers: maps.Clone(t.Answers),
		Bindings: maps.Clone(t.Bindings), Depots: maps.Clone(t.Depots),
	}}
}

// mergeTail carries the tail as it is now into waybills.db, in the order of the
// keys, as neighbours share pages. The last transaction moves merged: until then
// a restart goes over the same records again, which changes nothing, as each
// state knows what is in it. The caller holds mergeMu.
func (s *Store) mergeTail() error {
	if s.tail.lastNumber() == s.merged.Load() {
		return nil
	}
	c := s.tail.copy()
	err := inChunks(s, slices.SortedFunc(maps.Keys(c.Waybills), cmp.Compare), c.putWaybill)
	if err == nil {
		err = inChunks(s, slices.SortedFunc(maps.Keys(c.Answers), compareNumbers), c.putAnswer)
	}
	if err == nil {
		err = inChunks(s, slices.SortedFunc(maps.Keys(c.Bindings), comparePhones), c.putBinding)
	}
	if err == nil {
		err = s.update(c.finish)
	}
	if err != nil {
		return s.writeFailed(fmt.Errorf("merge waybills: %w", err))
	}
	s.dropMerged(c)
	return nil
}

// putWaybill reports whether the waybill is new. A damaged value is set aside
// before it is written over.
func (c *copied) putWaybill(tx *bbolt.Tx, id scan.WaybillID) (bool, error) {
	bucket, key := tx.Bucket(bucketWaybills), []byte(id)
	old := bucket.Get(key)
	if _, err := unframe(old); err != nil && old != nil {
		if err := tx.Bucket(bucketDamaged).Put(key, bytes.Clone(old)); err != nil {
			return false, err
		}
	}
	return old == nil, bucket.Put(key, encodeState(c.Waybills[id]))
}

func (c *copied) putAnswer(tx *bbolt.Tx, n judge.Number) (bool, error) {
	return false, tx.Bucket(bucketAnswers).Put(numberKey(n), encodeAnswer(c.Answers[n]))
}

func (c *copied) putBinding(tx *bbolt.Tx, p judge.PhoneKey) (bool, error) {
	return false, tx.Bucket(bucketBindings).Put(p[:], encodeBinding(c.Bindings[p]))
}

// finish writes the depots' numbering and moves merged.
func (c *copied) finish(tx *bbolt.Tx) error {
	bucket := tx.Bucket(bucketDepots)
	merged := getNumber(tx.Bucket(bucketMeta), metaMerged)
	for id, d := range c.Depots {
		for i := range d.Epochs {
			e := &d.Epochs[i]
			if e.Last <= merged {
				continue
			}
			if err := bucket.Put(epochKey(id, e.Epoch), encodeEpoch(e)); err != nil {
				return err
			}
		}
	}
	return putNumber(tx.Bucket(bucketMeta), metaMerged, c.last)
}

// inChunks puts what stands under the keys, in transactions of bounded size, and
// counts the waybills that put says are new.
func inChunks[K any](s *Store, keys []K, put func(tx *bbolt.Tx, key K) (waybill bool, _ error)) error {
	for chunk := range slices.Chunk(keys, mergeChunk) {
		count := s.count.Load()
		err := s.update(func(tx *bbolt.Tx) error {
			for _, k := range chunk {
				added, err := put(tx, k)
				if err != nil {
					return err
				}
				if added {
					count++
				}
			}
			return putNumber(tx.Bucket(bucketMeta), metaCount, count)
		})
		if err != nil {
			return err
		}
		s.count.Store(count)
	}
	return nil
}

// update is a transaction on waybills.db that a stop prevents.
func (s *Store) update(fn func(tx *bbolt.Tx) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.waybills.Update(fn)
}

// writeFailed returns what a failed write of waybills.db means: where it may
// have changed something the store fails.
func (s *Store) writeFailed(err error) error {
	if boltpage.Retryable(err) || s.usable() != nil {
		return err
	}
	return s.fail(err)
}

// dropMerged takes out of the tail what did not change since it was copied.
func (s *Store) dropMerged(c *copied) {
	s.merged.Store(c.last) // first: see steady
	s.tail.mu.Lock()
	drop(s.tail.Waybills, c.Waybills)
	drop(s.tail.Answers, c.Answers)
	drop(s.tail.Bindings, c.Bindings)
	s.tail.mu.Unlock()
	wait.Signal(s.truncate)
	wait.Signal(s.drained)
}

func drop[K, V comparable](from, merged map[K]V) {
	maps.DeleteFunc(from, func(k K, v V) bool {
		m, ok := merged[k]
		return ok && m == v
	})
}
