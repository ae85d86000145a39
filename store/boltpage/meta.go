package boltpage

import (
	"hash/fnv"
)

// Where the fields of bbolt's meta page stand (its internal/common/meta.go);
// numbers are in the machine's byte order.
const (
	metaOffset   = 16 // behind the page header
	metaSummed   = 56 // bytes that the checksum covers
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	metaPageSize = metaOffset + metaSummed + 8
)

// MetaPagesWhole reports whether both meta pages of a bbolt file can be read and
// are valid.
// bbolt opens a file with one damaged page silently, one transaction back: what
// was acknowledged last may be gone then.
func MetaPagesWhole(path string) (bool, error) {
	p, err := Open(path)
	if err != nil {
		return false, err
	}
	return p.Metas == 2, p.Close()
}

func metaValid(m []byte) bool {
	h := fnv.New64a()
	h.Write(m[:metaSummed]) // never fails
	return order.Uint32(m) == metaMagic && order.Uint32(m[4:]) == metaVersion &&
		order.Uint64(m[metaSummed:]) == h.Sum64()
}
