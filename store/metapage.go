package store

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
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

// metaPagesWhole reports whether both meta pages of a bbolt file can be read and
// are valid.
// bbolt opens a file with one damaged page silently, one transaction back
// (deps.md A7): what was acknowledged last may be gone then.
func metaPagesWhole(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("check meta pages: %w", err)
	}
	defer f.Close()
	whole := true
	for page := range 2 {
		buf := make([]byte, metaPageSize)
		_, err := f.ReadAt(buf, int64(page)*pageSize)
		whole = whole && err == nil && metaValid(buf[metaOffset:])
	}
	return whole, nil
}

func metaValid(m []byte) bool {
	h := fnv.New64a()
	h.Write(m[:metaSummed]) // never fails
	order := binary.NativeEndian
	return order.Uint32(m) == metaMagic && order.Uint32(m[4:]) == metaVersion &&
		order.Uint64(m[metaSummed:]) == h.Sum64()
}
