package format

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"scanrelay/store/durable"
)

// Ends of the names of a segment and of its register.
const (
	prefix         = "segment-"
	suffix         = ".db"
	registerSuffix = ".register"
	sparePrefix    = "spare-"
)

// Name returns the name of a segment's file.
func Name(number uint64) string { return fmt.Sprintf("%s%08d%s", prefix, number, suffix) }

// numberIn reads a segment's number from its file's name.
func numberIn(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if ok {
		digits, ok = strings.CutSuffix(digits, suffix)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}

// NumberOf reads the number of the segment that a file is of, or was once set
// aside of.
func NumberOf(path string) (uint64, bool) {
	name, _, _ := strings.Cut(filepath.Base(path), suffix)
	return numberIn(name + suffix)
}

// List returns the numbers of the segments in dir, rising.
func List(dir string) (numbers []uint64, err error) {
	files, err := durable.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list outbox: %w", err)
	}
	for _, f := range files {
		if n, ok := numberIn(f.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// RegisterPath returns the path of the register of the segment at a path.
func RegisterPath(path string) string { return strings.TrimSuffix(path, suffix) + registerSuffix }

// Registers lists the paths of all registers in dir.
func Registers(dir string) ([]string, error) {
	paths, err := durable.Glob(dir, prefix+"*"+registerSuffix)
	if err != nil {
		return nil, fmt.Errorf("list registers: %w", err)
	}
	return paths, nil
}

// spareName returns the name of a spare segment, which has no number yet.
func spareName(number uint64) string { return fmt.Sprintf("%s%08d%s", sparePrefix, number, suffix) }
