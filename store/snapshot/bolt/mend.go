package bolt

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/values"
)

func isDamage(err error) bool { return errors.Is(err, durable.ErrDamaged) }

// mendPause is how long after a mending failed, for want of room mostly, the next one is tried.
const mendPause = time.Minute

// inspect looks at all of waybills.db and mends it if anything is wrong, and
// reports whether there was. The caller holds mergeMu.
func (s *Store) inspect() (found bool, err error) {
	if err := s.usable(); err != nil {
		return false, err
	}
	if s.unmended != nil && s.o.Now().Sub(s.tried).Abs() < mendPause {
		return true, s.unmended
	}
	path := filepath.Join(s.dir, waybillsName)
	f, err := boltpage.Open(path)
	if err != nil {
		return false, fmt.Errorf("inspect waybills: %w", err)
	}
	holes, err := boltfile.Survey(f, waybillsName, nil)
	if err == nil && len(holes) == 0 {
		err = s.countStates(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("inspect waybills: %w", err)
	}
	// A list of free pages may look sound though a bit of it changed.
	if err := s.file.untouched(); isDamage(err) && len(holes) == 0 {
		holes = append(holes, &boltpage.Hole{Low: []byte{0}, High: []byte{0}, Err: err})
	}
	if len(holes) == 0 {
		return false, nil
	}
	for _, h := range holes[:min(len(holes), 20)] {
		s.damaged("%s: %v", waybillsName, h)
	}
	s.tried, s.unmended = s.o.Now(), nil
	if err := s.swap(); err != nil {
		s.unmended = fmt.Errorf("mend %s: %w", waybillsName, err)
		s.damaged("%v; it is tried again each minute", s.unmended)
	}
	return true, s.unmended
}

// countStates finds what all waybills come to where an older release did not; the next
// transaction notes it.
func (s *Store) countStates(f *boltpage.File) error {
	m, err := boltfile.ReadMeta(f)
	if err == nil && m.Get(boltfile.MetaStates) == nil {
		states := boltfile.States(f)
		s.states = &states
	}
	return err
}

// swap puts a mended waybills.db in the place of the damaged one, which is kept.
// Reads go on meanwhile.
func (s *Store) swap() error {
	if err := s.mend(waybillsName); err != nil {
		return err
	}
	next, err := openPaged(s.dir, waybillsName)
	if err != nil {
		return s.fail(err)
	}
	old := s.replace(next)
	s.loops.Go(func() { _ = old.close() }) // nothing in it is needed any more
	err = next.db.View(func(tx *bbolt.Tx) error {
		s.count.Store(boltfile.GetNumber(tx.Bucket(bucketMeta), metaCount))
		s.indexed, s.unindexed, s.round, s.states = false, nil, round{}, nil
		s.isClear = s.clearing.Resume(tx.Bucket(bucketMeta))
		return s.readHoles(tx)
	})
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// mend makes a file anew of what can be read of it, and keeps the damaged one
// under another name. Nothing may write to it meanwhile.
func (s *Store) mend(name string) error {
	if err := s.ready(); err != nil {
		return err
	}
	path := filepath.Join(s.dir, name)
	f, err := boltpage.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var kept string
	err = durable.Build(path, func(temp string) error {
		o := boltfile.Options(name)
		o.NoSync = true // Build syncs it
		o.InitialMmapSize = 0
		db, err := bbolt.Open(temp, 0o600, o)
		if err != nil {
			return err
		}
		m := mender{Store: s, name: name, db: db, none: f.Metas == 0}
		if err = errors.Join(m.fill(f), db.Close()); err == nil {
			kept = durable.AsideName(path)
			err = durable.SetAside(path, kept)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.damaged("%s was damaged: it was made anew of all that could be read; the damaged file is kept as %s", name, kept)
	return nil
}

// mender fills a new file from a damaged one.
type mender struct {
	*Store
	name  string
	db    *bbolt.DB
	holes []*boltpage.Hole
	batch []write
	count uint64
	none  bool // no meta page is good
	meta  boltfile.Fields
}

func (m *mender) fill(f *boltpage.File) (err error) {
	all := append(boltfile.Buckets(m.name), bucketMeta)
	err = m.db.Update(func(tx *bbolt.Tx) error {
		err := boltpage.MakeBuckets(tx, all...)
		if err == nil && m.name == waybillsName {
			err = boltfile.PutNumber(tx.Bucket(bucketMeta), boltfile.MetaStates, 0)
		}
		return err
	})
	if err != nil {
		return err
	}
	m.holes, err = boltfile.Survey(f, m.name, func(bucket string, k, v []byte) error {
		switch bucket {
		case string(bucketWaybills):
			m.count++
		case string(bucketAging): // it is made again by and by
			return nil
		}
		return m.add([]byte(bucket), k, v)
	})
	if err == nil {
		err = m.flush()
	}
	if fields, bad := boltfile.ReadMeta(f); bad == nil && fields.Sound() {
		m.meta = fields
	}
	where := m.holes
	if f.Metas < 2 { // what the last transaction wrote may stand anywhere
		for _, b := range all {
			where = append(where, &boltpage.Hole{Bucket: string(b)})
		}
	}
	if err == nil && len(where) > 0 {
		err = m.strays(f, where)
	}
	if err != nil {
		return err
	}
	return m.db.Update(boltfile.Summed(m.finish))
}

func (m *mender) add(bucket, key, value []byte) error {
	m.batch = append(m.batch, write{bucket: bytes.Clone(bucket), key: bytes.Clone(key), value: bytes.Clone(value)})
	if len(m.batch) < mergeChunk {
		return nil
	}
	return m.flush()
}

func (m *mender) flush() error {
	err := m.db.Update(func(tx *bbolt.Tx) error {
		for _, w := range m.batch {
			b, err := tx.CreateBucketIfNotExists(w.bucket) // old answers' is not made before
			if err != nil {
				return err
			}
			b.FillPercent = 0.9
			if err := boltfile.Put(tx, w.bucket, w.key, w.value); err != nil {
				return err
			}
		}
		return nil
	})
	m.batch = m.batch[:0]
	return err
}

// strays looks through all pages for values whose keys are in a hole: pages that
// nothing leads to any more, and older copies of those that are lost. The newest
// of each stays.
func (m *mender) strays(f *boltpage.File, where []*boltpage.Hole) (err error) {
	var found []write
	flush := func() {
		if err == nil {
			err = m.db.Update(func(tx *bbolt.Tx) error { return m.keepNewest(tx, found) })
		}
		found = found[:0]
	}
	candidate := func(bucket string, key, value []byte) {
		if !inHole(where, bucket, key) {
			return
		}
		if _, bad := values.Forms[bucket](key, value); bad != nil {
			return
		}
		if found = append(found, write{bucket: []byte(bucket), key: bytes.Clone(key), value: bytes.Clone(value)}); len(found) == mergeChunk {
			flush()
		}
	}
	f.Strays(func(bucket bool, key, value []byte) {
		if bucket { // of the root, or an older one
			m.inline(f, string(key), value, candidate)
			return
		}
		for _, b := range boltfile.Buckets(m.name) {
			if !bytes.Equal(b, bucketDamaged) && !bytes.Equal(b, bucketAging) {
				candidate(string(b), key, value)
			}
		}
	})
	flush()
	return err
}

// inline gives what stands in a bucket that is kept within the root.
func (m *mender) inline(f *boltpage.File, bucket string, value []byte, candidate func(bucket string, key, value []byte)) {
	var fields boltfile.Fields
	_, known := values.Forms[bucket]
	f.Inline(value, func(k, v []byte) {
		if known {
			candidate(bucket, k, v)
		} else {
			fields = append(fields, boltfile.Pair{Key: bytes.Clone(k), Value: bytes.Clone(v)})
		}
	})
	if bucket == string(bucketMeta) && fields.Sound() && (m.meta == nil || fields.Progress() > m.meta.Progress()) {
		m.meta = fields
	}
}

// keepNewest puts values that are newer than what is there.
func (m *mender) keepNewest(tx *bbolt.Tx, found []write) error {
	for _, w := range found {
		b := tx.Bucket(w.bucket)
		old := b.Get(w.key)
		if old != nil && !newer(string(w.bucket), w.key, old, w.value) {
			continue
		}
		if old == nil && bytes.Equal(w.bucket, bucketWaybills) {
			m.count++
		}
		if err := boltfile.Put(tx, w.bucket, w.key, w.value); err != nil {
			return err
		}
	}
	return nil
}

func newer(bucket string, key, old, value []byte) bool {
	a, err := values.Forms[bucket](key, old)
	b, _ := values.Forms[bucket](key, value)
	return err != nil || b > a
}

func inHole(holes []*boltpage.Hole, bucket string, key []byte) bool {
	return slices.ContainsFunc(holes, func(h *boltpage.Hole) bool {
		return (h.Bucket == bucket || h.Bucket == "") && bytes.Compare(key, h.Low) >= 0 && (h.High == nil || bytes.Compare(key, h.High) < 0)
	})
}

// finish writes what the file must say of itself, and what was lost.
func (m *mender) finish(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	var errs []error
	for _, p := range m.meta {
		if !bytes.Equal(p.Key, boltfile.MetaStates) { // its own is kept
			errs = append(errs, meta.Put(p.Key, p.Value))
		}
	}
	errs = append(errs, boltfile.PutNumber(meta, metaFormat, format), meta.Delete(boltfile.MetaPhoneKey), boltfile.PutKeys(tx, m.ring))
	if m.name == logName {
		return errors.Join(append(errs, meta.Put(metaStoreID, []byte(m.id)))...)
	}
	if f := m.none; f && m.count == 0 {
		return fmt.Errorf("%w: nothing in %s can be read: put a backup in its place, or move it and %s away to start with nothing",
			durable.ErrDamaged, m.name, logName)
	}
	// What was found on pages that nothing leads to may be in clear.
	errs = append(errs, meta.Delete(metaIndexed), meta.Delete(boltfile.MetaClear))
	errs = append(errs, meta.Put(metaStoreID, m.identity(meta)), boltfile.PutNumber(meta, metaCount, m.count),
		boltfile.PutNumber(meta, metaMerged, boltfile.GetNumber(meta, metaMerged)))
	lost := false
	now := m.o.Now().Unix()
	for _, h := range m.holes {
		if h.Bucket == string(bucketWaybills) {
			lost = true
			key, value := values.EncodeHole(values.Hole{Low: scan.WaybillID(h.Low), High: h.High, At: now})
			errs = append(errs, tx.Bucket(bucketHoles).Put(key, value))
		}
	}
	if lost {
		errs = append(errs, meta.Put(metaAgain, []byte{1}))
	}
	return errors.Join(errs...)
}

// identity returns the store's id, from the log where it is lost, or a new one.
func (m *mender) identity(meta *bbolt.Bucket) []byte {
	if id := meta.Get(metaStoreID); len(id) > 0 {
		return bytes.Clone(id)
	}
	if f, err := boltpage.Open(filepath.Join(m.dir, logName)); err == nil {
		defer f.Close()
		if id, err := f.Finder().Get(string(bucketMeta), metaStoreID); err == nil && len(id) > 0 {
			return bytes.Clone(id)
		}
	}
	return newID()
}

func newID() []byte {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return []byte(hex.EncodeToString(id))
}

func newSecret() []byte {
	secret := make([]byte, 32)
	rand.Read(secret)
	return secret
}

// suspect notes damage that a read met, and has waybills.db looked at. Its error
// is what the caller is told.
func (s *Store) suspect(err error) error {
	if errors.Is(err, datakey.ErrKey) {
		s.damaged("%v", err)
	}
	if !isDamage(err) {
		return err
	}
	select {
	case s.suspects <- struct{}{}:
		s.damaged("%s: %v", waybillsName, err)
	default:
	}
	return fmt.Errorf("%w: %w", snapshot.ErrDamaged, err)
}
