package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/values"
)

// Pair is an entry of the bucket meta.
type Pair struct{ Key, Value []byte }

// Fields is all of a bucket meta, in order.
type Fields []Pair

// Get returns a field; nil: it is not there.
func (m Fields) Get(key []byte) []byte {
	for _, p := range m {
		if bytes.Equal(p.Key, key) {
			return p.Value
		}
	}
	return nil
}

// Number returns a field that is one; 0: it is not there.
func (m Fields) Number(key []byte) uint64 {
	if v := m.Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// Progress tells which of two metas is the newer one.
func (m Fields) Progress() uint64 { return max(m.Number(MetaMerged), m.Number(MetaTruncated)) }

// Sound reports whether the fields are as they were written. Files of commit
// 7b28d06 have no sum of them. A number that nobody can have written is none.
func (m Fields) Sound() bool {
	if m.Progress() > values.MaxNumber {
		return false
	}
	if v := m.Get(MetaSum); v != nil {
		return bytes.Equal(v, m.sum())
	}
	return m.Number(MetaFormat) == 1 && len(m.Get(MetaStoreID)) == 32
}

func (m Fields) sum() []byte {
	h := crc32.New(values.Castagnoli)
	for _, p := range m {
		if !bytes.Equal(p.Key, MetaSum) {
			fmt.Fprintf(h, "%d %d ", len(p.Key), len(p.Value)) // never fails
			h.Write(p.Key)
			h.Write(p.Value)
		}
	}
	return h.Sum(nil)
}

// sumMeta puts the sum of all of meta into it: the last step of each change.
func sumMeta(tx *bbolt.Tx) error {
	meta := tx.Bucket(Meta)
	var m Fields
	err := meta.ForEach(func(k, v []byte) error {
		m = append(m, Pair{bytes.Clone(k), bytes.Clone(v)})
		return nil
	})
	return errors.Join(err, meta.Put(MetaSum, m.sum()))
}

// Summed is fn with sumMeta behind it.
func Summed(fn func(tx *bbolt.Tx) error) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return sumMeta(tx)
	}
}

// ReadMeta reads meta page by page; its error is damage.
func ReadMeta(f *boltpage.File) (m Fields, err error) {
	f.Finder().Scan(string(Meta), nil, func(k, v []byte) bool {
		m = append(m, Pair{bytes.Clone(k), bytes.Clone(v)})
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

// CheckMeta tells whether a file can be believed and is of a format that is known.
func CheckMeta(f *boltpage.File, name string) error {
	m, err := ReadMeta(f)
	if err != nil {
		return err
	}
	summed := m.Get(MetaSum) != nil
	switch v := m.Number(MetaFormat); {
	case (summed || m.Progress() > values.MaxNumber) && !m.Sound():
		return fmt.Errorf("%w: bucket meta", durable.ErrDamaged)
	case v > Format:
		return fmt.Errorf("%s: %w (format %d, this one knows %d)", name, snapshot.ErrNewer, v, Format)
	case v == 0, len(m.Get(MetaStoreID)) == 0:
		return fmt.Errorf("%w: bucket meta has no format or store id", durable.ErrDamaged)
	}
	return nil
}

// GetNumber reads a number of meta; 0: it is not there.
func GetNumber(b *bbolt.Bucket, key []byte) uint64 {
	v := b.Get(key)
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// PutNumber writes one.
func PutNumber(b *bbolt.Bucket, key []byte, n uint64) error {
	return b.Put(key, binary.BigEndian.AppendUint64(nil, n))
}
