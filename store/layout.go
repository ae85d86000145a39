package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// formatVersion is the version of every file this package writes. A file with
// a higher one is refused with ErrNewer. Version 1 had events and rejects in
// clear; it is read, and nothing is added to it.
const formatVersion = 2

// Names in the outbox's folder.
const (
	lockName       = "outbox.lock"
	suspectName    = "suspect"
	unreadableName = "unreadable"
	cleanName      = "outbox.clean"
	asideSuffix    = ".damaged"
	quarantineName = "quarantine.db"
	segmentPrefix  = "segment-"
	segmentSuffix  = ".db"
	registerSuffix = ".register"
	tempSuffix     = ".tmp"
)

// Buckets and keys of a segment; doc.go draws them.
var (
	bucketMeta    = []byte("meta")
	bucketState   = []byte("state")
	bucketEvents  = []byte("events")
	bucketNotes   = []byte("notes")
	bucketCarried = []byte("carried")
)

// Sizes. A segment is bounded so that damage and maps stay small; on 32-bit
// machines address space is what runs out first (deps.md A5).
const (
	pageSize         = 4096
	allocSize        = 64 << 10
	minSegmentSize   = 1 << 20
	maxSegmentSize   = 128 << 20
	maxSegmentSize32 = 64 << 20
	minMaxSize       = 4 * minSegmentSize
	is32bit          = ^uint(0)>>32 == 0
)

// segmentSizeFor returns the size of new segments under max_size.
func segmentSizeFor(maxSize int64) int64 {
	limit := int64(maxSegmentSize)
	if is32bit {
		limit = maxSegmentSize32
	}
	size := min(limit, maxSize/8) &^ (allocSize - 1)
	return max(size, minSegmentSize)
}

// boltOptions are those of deps.md section 0 for a file of at most size bytes.
func boltOptions(size int64, readOnly bool) *bolt.Options {
	return &bolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bolt.FreelistMapType,
		NoFreelistSync:  true,
		PageSize:        pageSize,
		InitialMmapSize: int(mapSize(size)),
		MaxSize:         int(size),
		ReadOnly:        readOnly,
		NoStatistics:    true,
	}
}

// mapSize is the power of two that holds size: the map is then never remapped.
func mapSize(size int64) int64 {
	m := int64(minSegmentSize)
	for m < size {
		m *= 2
	}
	return m
}

func segmentName(number uint64) string {
	return fmt.Sprintf("%s%08d%s", segmentPrefix, number, segmentSuffix)
}

// segmentNumber reads a segment's number from its file name.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, segmentPrefix)
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, segmentSuffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// listSegments returns the numbers of the segments in dir, rising.
func listSegments(dir string) ([]uint64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list outbox: %w", err)
	}
	var numbers []uint64
	for _, f := range files {
		if n, ok := segmentNumber(f.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// removeTemps deletes what an interrupted creation left: a file under its
// temporary name never held anything acknowledged.
func removeTemps(dir string) error {
	temps, err := filepath.Glob(filepath.Join(dir, "*"+tempSuffix))
	if err != nil {
		return fmt.Errorf("list temporary files: %w", err)
	}
	for _, t := range temps {
		if err := os.Remove(t); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	return nil
}

// syncDir makes creations, renames and removals in dir durable; bbolt never
// does that (deps.md A1). Its error wraps none: the renaming has happened, so
// not even ENOSPC may pass for a lack of room after which all is as before.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("sync folder: %v", err)
	}
	return nil
}

// seqKey is the key of a sequence number: big endian, so that order by bytes
// is order by number.
func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func keySeq(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
