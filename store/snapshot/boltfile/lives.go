package boltfile

import (
	"encoding/binary"
	"math/rand/v2"

	"go.etcd.io/bbolt"
)

// Lives are the runs of a store that wrote something, in order. Both files have them,
// so that each names the other: of two copies of a store that went on apart each has
// runs that the other does not have, under the same numbers of records.
type Lives []Life

// Life is one of them.
type Life struct {
	First uint64 // number of the first record that it wrote
	ID    uint64 // random
	At    int64  // when it wrote that, unix seconds
}

const (
	maxLives = 100 // that are kept; of older ones nobody knows
	lifeSize = 3 * 8
)

var metaLives = []byte("lives")

// Begin adds a life.
func (l Lives) Begin(first uint64, at int64) Lives {
	next := append(Lives{}, l[max(0, len(l)-maxLives+1):]...)
	return append(next, Life{First: first, ID: rand.Uint64(), At: at})
}

// Of is who wrote a record; the zero Life: nobody knows.
func (l Lives) Of(number uint64) (found Life) {
	for _, one := range l {
		if one.First <= number {
			found = one
		}
	}
	return found
}

// Apart reports whether, as far as is known, a record of two stores with that number was
// written by two of them.
func (l Lives) Apart(other Lives, number uint64) bool {
	a, b := l.Of(number), other.Of(number)
	return a != b && a != Life{} && b != Life{}
}

// Newer is which of two that are not apart has more.
func (l Lives) Newer(other Lives) Lives {
	if n, m := len(l), len(other); n == 0 || m > 0 && l[n-1].First < other[m-1].First {
		return other
	}
	return l
}

// GetLives reads them from meta.
func GetLives(meta *bbolt.Bucket) Lives { return decodeLives(meta.Get(metaLives)) }

func decodeLives(b []byte) (l Lives) {
	for ; len(b) >= lifeSize; b = b[lifeSize:] {
		l = append(l, Life{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[16:]))})
	}
	return l
}

// PutLives writes them.
func PutLives(meta *bbolt.Bucket, l Lives) error {
	b := make([]byte, 0, lifeSize*len(l))
	for _, one := range l {
		b = binary.BigEndian.AppendUint64(b, one.First)
		b = binary.BigEndian.AppendUint64(b, one.ID)
		b = binary.BigEndian.AppendUint64(b, uint64(one.At))
	}
	return meta.Put(metaLives, b)
}
