package bolt

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
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

// copied is the tail at one moment, sorted by key, as neighbours share pages.
// What it points to is immutable.
type copied struct {
	last     uint64
	waybills []entry[scan.WaybillID, *judge.State]
	answers  []entry[judge.Number, judge.Kept]
	bindings []entry[judge.PhoneKey, judge.Binding]
	depots   map[scan.DepotID]*judge.Numbering
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func entries[K comparable, V any](m map[K]V) []entry[K, V] {
	out := make([]entry[K, V], 0, len(m))
	for k, v := range m {
		out = append(out, entry[K, V]{k, v})
	}
	return out
}

func (t *tail) copy() *copied {
	t.mu.RLock()
	c := &copied{
		last: t.last, waybills: entries(t.Waybills), answers: entries(t.Answers), bindings: entries(t.Bindings),
		depots: maps.Clone(t.Depots),
	}
	t.mu.RUnlock()
	slices.SortFunc(c.waybills, func(x, y entry[scan.WaybillID, *judge.State]) int {
		return strings.Compare(string(x.key), string(y.key))
	})
	slices.SortFunc(c.answers, func(x, y entry[judge.Number, judge.Kept]) int { return compareNumbers(x.key, y.key) })
	slices.SortFunc(c.bindings, func(x, y entry[judge.PhoneKey, judge.Binding]) int { return bytes.Compare(x.key[:], y.key[:]) })
	return c
}

// mergeTail carries the tail as it is now into waybills.db. The last
// transaction moves merged: until then a restart goes over the same records
// again, which changes nothing, as each state knows what is in it. The caller
// holds mergeMu.
func (s *Store) mergeTail() error {
	if s.tail.lastNumber() == s.merged.Load() {
		return nil
	}
	c := s.tail.copy()
	err := s.mergeWaybills(c)
	if err == nil {
		err = chunks(s, c.answers, func(tx *bbolt.Tx, e entry[judge.Number, judge.Kept]) error {
			return tx.Bucket(bucketAnswers).Put(numberKey(e.key), encodeAnswer(e.value))
		})
	}
	if err == nil {
		err = chunks(s, c.bindings, func(tx *bbolt.Tx, e entry[judge.PhoneKey, judge.Binding]) error {
			return tx.Bucket(bucketBindings).Put(e.key[:], encodeBinding(e.value))
		})
	}
	if err == nil {
		err = s.update(func(tx *bbolt.Tx) error { return finishMerge(tx, c) })
	}
	if err != nil {
		return s.writeFailed(fmt.Errorf("merge waybills: %w", err))
	}
	s.dropMerged(c)
	return nil
}

// mergeWaybills writes the states and counts those that are new.
func (s *Store) mergeWaybills(c *copied) error {
	for chunk := range slices.Chunk(c.waybills, mergeChunk) {
		var added uint64
		err := s.update(func(tx *bbolt.Tx) error {
			added = 0
			bucket := tx.Bucket(bucketWaybills)
			for _, w := range chunk {
				key := []byte(w.key)
				old := bucket.Get(key)
				if old == nil {
					added++
				} else if err := keepDamaged(tx, key, old); err != nil {
					return err
				}
				if err := bucket.Put(key, encodeState(w.value)); err != nil {
					return err
				}
			}
			return putNumber(tx.Bucket(bucketMeta), metaCount, s.count.Load()+added)
		})
		if err != nil {
			return err
		}
		s.count.Add(added)
	}
	return nil
}

// keepDamaged sets a damaged value aside before it is written over.
func keepDamaged(tx *bbolt.Tx, key, old []byte) error {
	if _, err := unframe(old); err == nil {
		return nil
	}
	return tx.Bucket(bucketDamaged).Put(key, bytes.Clone(old))
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

// chunks puts all entries in transactions of bounded size.
func chunks[E any](s *Store, all []E, put func(tx *bbolt.Tx, e E) error) error {
	for chunk := range slices.Chunk(all, mergeChunk) {
		err := s.update(func(tx *bbolt.Tx) error {
			for _, e := range chunk {
				if err := put(tx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// finishMerge writes the depots' numbering and moves merged.
func finishMerge(tx *bbolt.Tx, c *copied) error {
	bucket := tx.Bucket(bucketDepots)
	merged := getNumber(tx.Bucket(bucketMeta), metaMerged)
	for id, d := range c.depots {
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

// dropMerged takes out of the tail what did not change since it was copied.
func (s *Store) dropMerged(c *copied) {
	s.merged.Store(c.last) // first: see steady
	s.tail.mu.Lock()
	drop(s.tail.Waybills, c.waybills)
	drop(s.tail.Answers, c.answers)
	drop(s.tail.Bindings, c.bindings)
	s.tail.mu.Unlock()
	poke(s.truncate)
	poke(s.drained)
}

func drop[K, V comparable](from map[K]V, merged []entry[K, V]) {
	for _, e := range merged {
		if from[e.key] == e.value {
			delete(from, e.key)
		}
	}
}
