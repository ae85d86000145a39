package store

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"scanrelay/store/boltpage"
)

// Names in the outbox's folder.
const (
	lockName       = "outbox.lock"
	suspectName    = "suspect"
	unreadableName = "unreadable"
	cleanName      = "outbox.clean"
	segmentPrefix  = "segment-"
	segmentSuffix  = ".db"
	registerSuffix = ".register"
)

// Buckets and keys of a segment; doc.go draws them.
var (
	bucketState   = []byte("state")
	bucketEvents  = []byte("events")
	bucketNotes   = []byte("notes")
	bucketCarried = []byte("carried")
)

// Sizes. A segment is bounded so that damage and maps stay small; on 32-bit
// machines address space is what runs out first (deps.md A5).
const (
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
	size := min(limit, maxSize/8) &^ (boltpage.AllocSize - 1)
	return max(size, minSegmentSize)
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
