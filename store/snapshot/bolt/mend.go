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
	"scanrelay/store/snapshot/values"
)

// buckets are those of a file, besides meta.
func buckets(name string) [][]byte {
	if name == logName {
		return [][]byte{bucketLog}
	}
	return [][]byte{bucketWaybills, bucketNumbers, bucketDepots, bucketBindings, bucketHoles, bucketAging, bucketDamaged}
}

func isDamage(err error) bool { return errors.Is(err, durable.ErrDamaged) }

// survey reads all of a file, page by page, and returns the runs of keys that
// cannot be read, or not be believed. With each, if set, the sound values are
// given.
func survey(f *boltpage.File, name string, each func(bucket string, key, value []byte) error) (holes []*boltpage.Hole, err error) {
	used := make([]bool, f.High())
	r := f.Finder()
	r.Seen = func(id, pages uint64) {
		for i := id; i < min(id+pages, uint64(len(used))); i++ {
			used[i] = true
		}
	}
	for _, b := range append(buckets(name), bucketAnswers) {
		bucket := string(b)
		holes = append(holes, r.Sound(bucket, values.Check(bucket), func(k, v []byte) bool {
			if each != nil {
				err = each(bucket, k, v)
			}
			return err == nil
		})...)
		if err != nil {
			return nil, err
		}
	}
	return append(holes, unsound(f, used)...), nil
}

// unsound tells what is wrong with a file besides its keys.
func unsound(f *boltpage.File, used []bool) (holes []*boltpage.Hole) {
	wrong := func(format string, args ...any) {
		holes = append(holes, &boltpage.Hole{Low: []byte{0}, High: []byte{0}, Err: fmt.Errorf(format, args...)})
	}
	free, err := f.Free()
	if m, bad := readMeta(f); bad != nil {
		wrong("%w", bad)
	} else if !m.sound() {
		wrong("bucket meta is not as it was written")
	}
	switch {
	case f.Metas == 0:
		wrong("both meta pages are damaged")
	case f.Metas == 1:
		wrong("a meta page is damaged: the last transaction may be lost")
	case err != nil:
		wrong("%w", err)
	}
	for _, id := range free {
		if used[id] {
			wrong("page %d is in use and listed as free", id)
			break
		}
	}
	return holes
}

// mendPause is how long after a mending failed, for want of room mostly, the next
// one is tried.
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
	holes, err := survey(f, waybillsName, nil)
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
		s.count.Store(getNumber(tx.Bucket(bucketMeta), metaCount))
		s.indexed, s.unindexed, s.round = false, nil, round{}
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
	path := filepath.Join(s.dir, name)
	f, err := boltpage.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var kept string
	err = durable.Build(path, func(temp string) error {
		o := boltOptions(name)
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
	meta  metaFields
}

func (m *mender) fill(f *boltpage.File) (err error) {
	all := append(buckets(m.name), bucketMeta)
	if err := m.db.Update(func(tx *bbolt.Tx) error { return boltpage.MakeBuckets(tx, all...) }); err != nil {
		return err
	}
	m.holes, err = survey(f, m.name, func(bucket string, k, v []byte) error {
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
	if fields, bad := readMeta(f); bad == nil && fields.sound() {
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
	return m.db.Update(summed(m.finish))
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
			if err := b.Put(w.key, w.value); err != nil {
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
		for _, b := range buckets(m.name) {
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
	var fields metaFields
	_, known := values.Forms[bucket]
	f.Inline(value, func(k, v []byte) {
		if known {
			candidate(bucket, k, v)
		} else {
			fields = append(fields, pair{bytes.Clone(k), bytes.Clone(v)})
		}
	})
	if bucket == string(bucketMeta) && fields.sound() && (m.meta == nil || fields.progress() > m.meta.progress()) {
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
		if err := b.Put(w.key, w.value); err != nil {
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
		errs = append(errs, meta.Put(p.key, p.value))
	}
	errs = append(errs, putNumber(meta, metaFormat, format))
	if m.name == logName {
		return errors.Join(append(errs, meta.Put(metaStoreID, []byte(m.id)))...)
	}
	if f := m.none; f && m.count == 0 {
		return fmt.Errorf("%w: nothing in %s can be read: put a backup in its place, or move it and %s away to start with nothing",
			durable.ErrDamaged, m.name, logName)
	}
	errs = append(errs, meta.Delete(metaIndexed))
	id, secret := m.identity(meta)
	errs = append(errs, meta.Put(metaStoreID, id), meta.Put(metaPhoneKey, secret), putNumber(meta, metaCount, m.count),
		putNumber(meta, metaMerged, getNumber(meta, metaMerged)))
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

// identity returns the store's id and key, from the log where they are lost, or
// new ones.
func (m *mender) identity(meta *bbolt.Bucket) (id, secret []byte) {
	id, secret = bytes.Clone(meta.Get(metaStoreID)), bytes.Clone(meta.Get(metaPhoneKey))
	if f, err := boltpage.Open(filepath.Join(m.dir, logName)); err == nil {
		defer f.Close()
		r := f.Finder()
		if v, err := r.Get(string(bucketMeta), metaStoreID); err == nil && len(id) == 0 {
			id = bytes.Clone(v)
		}
		if v, err := r.Get(string(bucketMeta), metaPhoneKey); err == nil && len(secret) == 0 {
			secret = bytes.Clone(v)
		}
	}
	if len(id) == 0 {
		id = newID()
	}
	if len(secret) == 0 {
		secret = newSecret()
	}
	return id, secret
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
