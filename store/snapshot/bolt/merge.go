package bolt

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/configs/wait"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// mergeChunk is how many keys one transaction of a merge writes: it bounds the
// memory that bbolt takes for changed pages.
const mergeChunk = 4000

// inspectEvery is how often all of waybills.db is looked at.
const inspectEvery = 24 * time.Hour

// mergeLoop is the merger: the only one who takes from the tail, and who writes
// waybills.db. Before it begins it looks at all of the file.
func (s *Store) mergeLoop() {
	tick := time.NewTicker(s.o.MergeEvery)
	defer tick.Stop()
	look := time.NewTicker(inspectEvery)
	defer look.Stop()
	s.inspectAll()
	for {
		select {
		case <-s.suspects:
			s.inspectAll()
		case <-look.C:
			s.inspectAll()
		case <-tick.C:
			if s.worthMerging() {
				s.mergeAll()
			}
		case <-s.merge:
			s.mergeAll()
		case <-s.life.Done():
			return
		}
	}
}

const (
	lateMerge = 60       // ticks that what came is left in the log at most
	shortList = 64 << 10 // bytes
)

// worthMerging reports whether what came is worth a merge now. Each of its commits
// writes the list of free pages, which is long after much was forgotten: it must
// not outweigh the pages that are changed, one for each record or so. A short one
// does no harm.
func (s *Store) worthMerging() bool {
	s.mergeMu.Lock()
	defer s.mergeMu.Unlock()
	stats := s.file.db.Stats()
	list := uint64(8 * (stats.FreePageN + stats.PendingPageN))
	came := s.tail.lastNumber() - s.merged.Load()
	if s.waited++; came*boltpage.PageSize+shortList < 4*list && s.waited < lateMerge {
		return false
	}
	s.waited = 0
	return came > 0
}

func (s *Store) inspectAll() {
	s.mergeMu.Lock()
	defer s.mergeMu.Unlock()
	s.inspect()
}

func (s *Store) mergeAll() {
	s.mergeMu.Lock()
	defer s.mergeMu.Unlock()
	err := s.mergeTail()
	if isDamage(err) {
		switch found, mendErr := s.inspect(); {
		case mendErr != nil:
			err = mendErr
		case !found:
			err = s.fail(err)
		default:
			err = s.mergeTail()
		}
	}
	if err != nil && s.usable() == nil {
		s.tell(&s.unmerged, "merge waybills: trying again", err)
	}
}

// tell logs what fails again and again now and then.
func (s *Store) tell(rarely *wait.Rarely, what string, err error) {
	if more, due := rarely.Due(s.o.Now()); due {
		s.o.Logger.Error(what, "error", err, "failed_since_last_line", more)
	}
}

// copied is the tail at one moment. What it points to is immutable.
type copied struct {
	judge.Facts
	last  uint64
	lives boltfile.Lives
}

func (t *tail) copy() *copied {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return &copied{last: t.last, lives: t.lives, Facts: judge.Facts{
		Waybills: maps.Clone(t.Waybills), Answers: maps.Clone(t.Answers),
		Bindings: maps.Clone(t.Bindings), Depots: maps.Clone(t.Depots),
	}}
}

// write is a value for waybills.db.
type write struct {
	bucket, key, value []byte
	entry              *write       // in the index of ages, where the value is new
	anew               bool         // what is there cannot be decrypted, and is kept aside
	block              values.Block // answers to be added to those under key; value is made of both
}

// mergeTail carries the tail as it is now into waybills.db, in the order of the
// keys, as neighbours share pages. The last transaction moves merged: until then
// a restart goes over the same records again, which changes nothing, as each
// state knows what is in it. The caller holds mergeMu.
func (s *Store) mergeTail() error {
	if s.tail.lastNumber() == s.merged.Load() {
		return nil
	}
	if err := s.ready(); err != nil {
		return fmt.Errorf("merge waybills: %w", err)
	}
	c := s.tail.copy()
	var chunk []write
	var err error
	for w := range c.writes(s.ring, s.merged.Load()) {
		if len(chunk) == mergeChunk {
			if err = s.put(chunk, nil); err != nil {
				break
			}
			chunk = chunk[:0]
		}
		chunk = append(chunk, w)
	}
	if err == nil {
		err = s.put(chunk, c)
	}
	if err != nil {
		return s.writeFailed(fmt.Errorf("merge waybills: %w", err))
	}
	s.dropMerged(c)
	return nil
}

// writes gives all that the tail holds, in order, and what is newer than merged
// of the depots' numbering.
func (c *copied) writes(keys *datakey.Ring, merged uint64) func(yield func(write) bool) {
	return func(yield func(write) bool) {
		for _, id := range slices.SortedFunc(maps.Keys(c.Waybills), cmp.Compare) {
			key, st := []byte(id), c.Waybills[id]
			entry := aged(boltfile.AgeOfWaybill, st.Changed, key)
			if !yield(write{bucket: bucketWaybills, key: key, value: values.EncodeState(keys, key, st), entry: &entry, anew: st.Anew}) {
				return
			}
		}
		var block write
		for _, n := range slices.SortedFunc(maps.Keys(c.Answers), compareNumbers) {
			key, place := values.BlockKey(n)
			if !bytes.Equal(key, block.key) {
				if block.key != nil && !yield(block) {
					return
				}
				block = write{bucket: bucketNumbers, key: key, block: values.Block{}}
			}
			block.block[place] = c.Answers[n]
		}
		if block.key != nil && !yield(block) {
			return
		}
		for _, p := range slices.SortedFunc(maps.Keys(c.Bindings), comparePhones) {
			b := c.Bindings[p]
			entry := aged(boltfile.AgeOfBinding, b.At, p[:])
			if !yield(write{bucket: bucketBindings, key: p[:], value: values.EncodeBinding(p[:], b), entry: &entry}) {
				return
			}
		}
		for id, d := range c.Depots {
			for i := range d.Epochs {
				e := &d.Epochs[i]
				key := values.EpochKey(id, e.Epoch)
				if max(e.Last, e.Again) > merged && !yield(write{bucket: bucketDepots, key: key, value: values.EncodeEpoch(key, e)}) {
					return
				}
			}
		}
	}
}

// dropped gives the keys of epochs that the numberings have given up.
func (c *copied) dropped(r *boltpage.Finder) (keys [][]byte, err error) {
	for id, d := range c.Depots {
		if len(d.Epochs) < snapshot.MaxEpochs {
			continue // none was
		}
		prefix := values.EpochKey(id, 0)[:len(id)+1]
		r.Scan(string(bucketDepots), prefix, func(k, _ []byte) bool {
			if !bytes.HasPrefix(k, prefix) {
				return false
			}
			if _, epoch, _ := values.ParseEpochKey(k); !slices.ContainsFunc(d.Epochs, func(e judge.Epoch) bool { return e.Epoch == epoch }) {
				keys = append(keys, bytes.Clone(k))
			}
			return true
		}, func(h *boltpage.Hole) bool {
			err = h
			return false
		})
	}
	return keys, err
}

// put writes a chunk; with end it is the last one, which moves merged. The pages
// that lead to its keys are looked at first: bbolt would die of a bad one, and
// what is read so it finds in memory.
func (s *Store) put(chunk []write, end *copied) error {
	added := uint64(0)
	var dropped [][]byte
	entries, err := readFile(s.file, func(r *boltpage.Finder) (entries []write, _ error) {
		for i := range chunk {
			w := &chunk[i]
			old, err := r.Get(string(w.bucket), w.key)
			if err == nil && w.block != nil {
				err = w.addTo(old)
			}
			if err == nil && old == nil && w.entry != nil {
				entries = append(entries, *w.entry)
				_, err = r.Get(string(bucketAging), w.entry.key)
			}
			if err == nil && w.anew {
				if _, bad := values.DecodeState(s.ring, w.key, old); errors.Is(bad, datakey.ErrKey) {
					aside := write{bucket: bucketDamaged, key: asideKey(w.key, old), value: bytes.Clone(old)}
					entries = append(entries, aside)
					_, err = r.Get(string(bucketDamaged), aside.key)
				}
			}
			if err != nil {
				return nil, err
			}
			if old == nil && bytes.Equal(w.bucket, bucketWaybills) {
				added++
			}
		}
		if end != nil {
			var err error
			if dropped, err = end.dropped(r); err != nil {
				return nil, err
			}
		}
		return entries, nil
	})
	if err != nil {
		return err
	}
	chunk = append(chunk, entries...)
	count := s.count.Load() + added
	err = s.update(func(tx *bbolt.Tx) error {
		for _, w := range chunk {
			if err := boltfile.Put(tx, w.bucket, w.key, w.value); err != nil {
				return err
			}
		}
		for _, key := range dropped {
			if err := tx.Bucket(bucketDepots).Delete(key); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if end == nil {
			return boltfile.PutNumber(meta, metaCount, count)
		}
		if again := s.again.Load(); again > 0 && again <= end.last {
			if err := meta.Delete(metaAgain); err != nil {
				return err
			}
		}
		err := errors.Join(boltfile.PutNumber(meta, metaCount, count), s.writeRestored(meta), boltfile.PutLives(meta, end.lives))
		if err != nil {
			return err
		}
		return boltfile.PutNumber(meta, metaMerged, end.last)
	})
	if err == nil {
		s.count.Store(count)
	}
	return err
}

// addTo makes the value of a block of answers.
func (w *write) addTo(old []byte) error {
	all := w.block
	if old != nil {
		var err error
		if all, _, err = values.DecodeBlock(w.key, old); err != nil {
			return err
		}
		maps.Copy(all, w.block)
	}
	w.value = values.EncodeBlock(w.key, all)
	return nil
}

// dropMerged takes out of the tail what did not change since it was copied.
func (s *Store) dropMerged(c *copied) {
	s.merged.Store(c.last) // first: see steady
	s.tail.mu.Lock()
	drop(s.tail.Waybills, c.Waybills)
	drop(s.tail.Answers, c.Answers)
	drop(s.tail.Bindings, c.Bindings)
	s.tail.mu.Unlock()
	wait.Signal(s.renew)
	wait.Signal(s.drained)
}

func drop[K, V comparable](from, merged map[K]V) {
	maps.DeleteFunc(from, func(k K, v V) bool {
		m, ok := merged[k]
		return ok && m == v
	})
}
