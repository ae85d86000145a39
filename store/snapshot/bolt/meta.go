package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot/values"
)

// pair is an entry of the bucket meta.
type pair struct{ key, value []byte }

// metaFields is all of a bucket meta, in order.
type metaFields []pair

func (m metaFields) get(key []byte) []byte {
	for _, p := range m {
		if bytes.Equal(p.key, key) {
			return p.value
		}
	}
	return nil
}

func (m metaFields) number(key []byte) uint64 {
	if v := m.get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// progress tells which of two metas is the newer one.
func (m metaFields) progress() uint64 { return max(m.number(metaMerged), m.number(metaTruncated)) }

// sound reports whether the fields are as they were written. Files of commit
// 7b28d06 have no sum of them.
func (m metaFields) sound() bool {
	if v := m.get(metaSum); v != nil {
		return bytes.Equal(v, m.sum())
	}
	return m.number(metaFormat) == 1 && len(m.get(metaStoreID)) == 32
}

func (m metaFields) sum() []byte {
	h := crc32.New(values.Castagnoli)
	for _, p := range m {
		if !bytes.Equal(p.key, metaSum) {
			fmt.Fprintf(h, "%d %d ", len(p.key), len(p.value)) // never fails
			h.Write(p.key)
			h.Write(p.value)
		}
	}
	return h.Sum(nil)
}

// sumMeta puts the sum of all of meta into it: the last step of each change.
func sumMeta(tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	var m metaFields
	err := meta.ForEach(func(k, v []byte) error {
		m = append(m, pair{bytes.Clone(k), bytes.Clone(v)})
		return nil
	})
	return errors.Join(err, meta.Put(metaSum, m.sum()))
}

// summed is fn with sumMeta behind it.
func summed(fn func(tx *bbolt.Tx) error) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return sumMeta(tx)
	}
}

// readMeta reads meta page by page; its error is damage.
func readMeta(f *boltpage.File) (m metaFields, err error) {
	f.Finder().Scan(string(bucketMeta), nil, func(k, v []byte) bool {
		m = append(m, pair{bytes.Clone(k), bytes.Clone(v)})
		return true
	}, func(h *boltpage.Hole) bool {
		err = h
		return false
	})
	if err == nil && len(m) == 0 {
		err = fmt.Errorf("%w: no bucket meta", durable.ErrDamaged)
	}
	return m, err
}

// checkMeta tells whether a file can be believed and is of a format that is known.
func checkMeta(f *boltpage.File, name string) error {
	m, err := readMeta(f)
	if err != nil {
		return err
	}
	summed := m.get(metaSum) != nil
	switch v := m.number(metaFormat); {
	case summed && !m.sound():
		return fmt.Errorf("%w: bucket meta", durable.ErrDamaged)
	case v > format:
		return newerFormat(name, v)
	case v == 0, len(m.get(metaStoreID)) == 0:
		return fmt.Errorf("%w: bucket meta has no format or store id", durable.ErrDamaged)
	}
	return nil
}
