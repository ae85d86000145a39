package format

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// Spares are segments without events and number, made ahead: their blocks are
// reserved. Its methods may be called from any goroutine.
type Spares struct {
	dir  string
	mu   sync.Mutex
	list []spare
}

type spare struct {
	path string
	size int64
}

// OpenSpares takes over the spare segments in a folder. One that is damaged, or
// whose blocks are not reserved, is of no use and removed.
func OpenSpares(dir string) (*Spares, error) {
	s := &Spares{dir: dir}
	paths, err := durable.Glob(dir, sparePrefix+"*"+suffix)
	if err != nil {
		return nil, fmt.Errorf("list spare segments: %w", err)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.Size() >= MinSize && durable.Unreserved(path, info.Size()) == 0 && boltpage.CheckPages(path) == nil {
			s.list = append(s.list, spare{path, info.Size()})
		} else if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove spare segment: %w", err)
		}
	}
	return s, nil
}

// Make makes one of at most size bytes.
func (s *Spares) Make(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := uint64(1); ; n++ {
		path := filepath.Join(s.dir, spareName(n))
		if !slices.ContainsFunc(s.list, func(x spare) bool { return x.path == path }) {
			size, err := createSpare(path, size)
			if err == nil {
				s.list = append(s.list, spare{path, size})
			}
			return err
		}
	}
}

// Begin makes the first one into the segment of m, whose size it sets, with a
// state. It takes no room that the spare has not got; a crash leaves either of the
// two. One that is damaged is thrown away.
func (s *Spares) Begin(m *codec.FileMeta, st *State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.list[0]
	s.list = s.list[1:]
	m.Size = first.size
	err := begin(s.dir, first.path, *m, st)
	if err != nil {
		_ = os.Remove(first.path) // nothing is in it
	}
	return err
}

// Sizes lists how large they are.
func (s *Spares) Sizes() (sizes []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.list {
		sizes = append(sizes, x.size)
	}
	return sizes
}

// Paths lists where they are.
func (s *Spares) Paths() (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.list {
		paths = append(paths, x.path)
	}
	return paths
}

// createSpare makes a segment without events and number, of at most size bytes,
// and returns its size: initialised and preallocated. Where the file system cannot
// give the size it takes half, and so on down to the minimum.
func createSpare(path string, size int64) (int64, error) {
	m := codec.FileMeta{Format: codec.Version, Size: size}
	err := durable.Build(path, func(temp string) error { return preallocate(temp, &m) })
	return m.Size, err
}

// begin gives a spare segment its head, state and name.
func begin(dir, path string, m codec.FileMeta, st *State) error {
	if err := boltpage.CheckPages(path); err != nil { // bbolt would die of it
		return err
	}
	db, err := boltpage.OpenDB(path, m.Size)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error { return Fill(inTx(tx), &m, st) })
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(path, filepath.Join(dir, Name(m.Number)))
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

const (
	// CommitOverhead is what bbolt's pages and the copied path to the root take in a
	// commit, in bytes.
	CommitOverhead = 16 * boltpage.PageSize
	// MaxNotes bounds the notes that may have to go into one commit though room is
	// short: at the end of a segment as much may stay unused.
	MaxNotes = 64 << 10
)

// RoomIn is how many bytes commits may still put into a file of which so much is
// used; below 0: not even one of no size.
func RoomIn(size, used int64) int64 {
	return size - boltpage.AllocSize - 4*boltpage.PageSize - CommitOverhead - used
}

// SpareRoom is what notes can take of a spare segment.
func SpareRoom(size int64) int64 { return RoomIn(size, CommitOverhead) - MaxNotes }
