package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
)

// mergeChunk is how many keys one transaction of a merge writes: it bounds the
// memory that bbolt takes for changed pages.
const mergeChunk = 4000

// mergeLoop is the merger: the only one who takes from the tail.
func (b *Bolt) mergeLoop() {
	defer b.loops.Done()
	tick := time.NewTicker(b.o.MergeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.merge:
		case <-b.closing:
			return
		case <-b.failed:
			return
		}
		if b.tail.lastNumber() == b.merged.Load() {
			continue
		}
		if err := b.mergeTail(); err != nil {
			b.mergeFailed(err)
		}
	}
}

func (b *Bolt) mergeFailed(err error) {
	switch {
	case errors.Is(err, ErrClosed):
	case harmless(err):
		b.o.Logger.Error("merge waybills: no room on disk, trying again", "err", err)
	default:
		b.fail(err)
	}
}

// copied is the tail at one moment. What it points to is immutable.
type copied struct {
	last     uint64
	waybills []waybillState
	answers  []answerEntry
	bindings []bindingEntry
	depots   map[scan.DepotID]*depotState
}

type waybillState struct {
	id scan.WaybillID
	st *state
}

type answerEntry struct {
	at  triple
	key []byte
	v   answerValue
}

type bindingEntry struct {
	key phoneKey
	v   bindingValue
}

func (b *Bolt) copyTail() *copied {
	t := &b.tail
	c := &copied{depots: map[scan.DepotID]*depotState{}}
	t.mu.RLock()
	c.last = t.last
	for id, st := range t.waybills {
		c.waybills = append(c.waybills, waybillState{id, st})
	}
	for k, v := range t.answers {
		c.answers = append(c.answers, answerEntry{at: k, v: v})
	}
	for k, v := range t.bindings {
		c.bindings = append(c.bindings, bindingEntry{k, v})
	}
	for id, d := range t.depots {
		c.depots[id] = d
	}
	t.mu.RUnlock()
	c.order()
	return c
}

// order sorts by key: neighbours share pages.
func (c *copied) order() {
	for i := range c.answers {
		c.answers[i].key = c.answers[i].at.key()
	}
	slices.SortFunc(c.waybills, func(x, y waybillState) int { return bytes.Compare([]byte(x.id), []byte(y.id)) })
	slices.SortFunc(c.answers, func(x, y answerEntry) int { return bytes.Compare(x.key, y.key) })
	slices.SortFunc(c.bindings, func(x, y bindingEntry) int { return bytes.Compare(x.key[:], y.key[:]) })
}

// mergeTail carries the tail as it is now into waybills.db. The last
// transaction moves merged: until then a restart goes over the same records
// again, which changes nothing, as each state knows what is in it.
func (b *Bolt) mergeTail() error {
	b.mergeMu.Lock()
	defer b.mergeMu.Unlock()
	start := time.Now()
	c := b.copyTail()
	if err := b.mergeWaybills(c.waybills); err != nil {
		return err
	}
	if err := chunks(b, c.answers, func(tx *bolt.Tx, a answerEntry) error {
		return tx.Bucket(bucketAnswers).Put(a.key, a.v.encode())
	}); err != nil {
		return err
	}
	if err := chunks(b, c.bindings, func(tx *bolt.Tx, e bindingEntry) error {
		return tx.Bucket(bucketBindings).Put(e.key[:], e.v.encode())
	}); err != nil {
		return err
	}
	if err := b.waybills.Update(func(tx *bolt.Tx) error { return finishMerge(tx, c) }); err != nil {
		return err
	}
	b.dropMerged(c)
	b.o.OnMerge(time.Since(start), len(c.waybills))
	return nil
}

// mergeWaybills writes the states and counts those that are new.
func (b *Bolt) mergeWaybills(all []waybillState) error {
	for chunk := range slices.Chunk(all, mergeChunk) {
		var added uint64
		err := b.update(func(tx *bolt.Tx) error {
			added = 0
			bucket := tx.Bucket(bucketWaybills)
			for _, w := range chunk {
				key := []byte(w.id)
				old := bucket.Get(key)
				if old == nil {
					added++
				} else if err := keepDamaged(tx, key, old); err != nil {
					return err
				}
				if err := bucket.Put(key, encodeState(w.st)); err != nil {
					return err
				}
			}
			return putNumber(tx.Bucket(bucketMeta), metaCount, b.count.Load()+added)
		})
		if err != nil {
			return fmt.Errorf("merge waybills: %w", err)
		}
		b.count.Add(added)
	}
	return nil
}

// keepDamaged sets a damaged value aside before it is written over.
func keepDamaged(tx *bolt.Tx, key, old []byte) error {
	if _, err := unseal(old); err == nil {
		return nil
	}
	return tx.Bucket(bucketDamaged).Put(key, bytes.Clone(old))
}

// update is a transaction on waybills.db that a stop prevents.
func (b *Bolt) update(fn func(tx *bolt.Tx) error) error {
	if err := b.usable(); err != nil {
		return err
	}
	return b.waybills.Update(fn)
}

// chunks puts all entries in transactions of bounded size.
func chunks[E any](b *Bolt, all []E, put func(tx *bolt.Tx, e E) error) error {
	for chunk := range slices.Chunk(all, mergeChunk) {
		err := b.update(func(tx *bolt.Tx) error {
			for _, e := range chunk {
				if err := put(tx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("merge waybills: %w", err)
		}
	}
	return nil
}

// finishMerge writes the depots' numbering and moves merged.
func finishMerge(tx *bolt.Tx, c *copied) error {
	bucket := tx.Bucket(bucketDepots)
	merged := getNumber(tx.Bucket(bucketMeta), metaMerged)
	for id, d := range c.depots {
		for i := range d.epochs {
			e := &d.epochs[i]
			if e.last <= merged {
				continue
			}
			if err := bucket.Put(epochKey(id, e.epoch), encodeEpoch(e)); err != nil {
				return err
			}
		}
	}
	return putNumber(tx.Bucket(bucketMeta), metaMerged, c.last)
}

// dropMerged takes out of the tail what did not change since it was copied.
func (b *Bolt) dropMerged(c *copied) {
	b.merged.Store(c.last) // first: see steady
	t := &b.tail
	t.mu.Lock()
	for _, w := range c.waybills {
		if t.waybills[w.id] == w.st {
			delete(t.waybills, w.id)
		}
	}
	for _, a := range c.answers {
		if t.answers[a.at] == a.v {
			delete(t.answers, a.at)
		}
	}
	for _, e := range c.bindings {
		if t.bindings[e.key] == e.v {
			delete(t.bindings, e.key)
		}
	}
	t.mu.Unlock()
	poke(b.truncate)
	poke(b.drained)
}
