package register

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"slices"
	"sort"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// file is a register on disk:
//
//	one page    its frame (package codec): segment number, upTo, number of entries
//	pages       of 511 entries each, rising, the last one filled up with ones;
//	            CRC32C of them (4 bytes), 4 zero bytes
//
// An entry is 8 bytes, big endian: tag (40 bits) and slot (24). Tags are evenly
// spread, so the page of one is guessed within one or two.
type file struct {
	f     *durable.File
	upTo  uint64
	count uint64
}

const (
	pageSize    = 4096
	pageEntries = pageSize/8 - 1
	noEntry     = ^uint64(0)
)

// ErrGone: the segment was dropped meanwhile, and its register with it.
var ErrGone = errors.New("register is gone")

var keyRegister = []byte("register")

// Write replaces the file at path, whole or not at all.
func Write(path string, number, upTo uint64, entries []uint64) error {
	e := codec.NewEncoder(32)
	e.Uint(number)
	e.Uint(upTo)
	e.Uint(uint64(len(entries)))
	frame := e.Frame(keyRegister)
	b := make([]byte, pageSize, pageSize*(2+len(entries)/pageEntries))
	b[0] = byte(len(frame))
	copy(b[1:], frame)
	for page := range slices.Chunk(entries, pageEntries) {
		begin := len(b)
		for i := range pageEntries {
			entry := noEntry
			if i < len(page) {
				entry = page[i]
			}
			b = binary.BigEndian.AppendUint64(b, entry)
		}
		b = binary.BigEndian.AppendUint32(b, codec.CRC(b[begin:]))
		b = append(b, 0, 0, 0, 0)
	}
	return durable.Create(path, b)
}

// openFile opens the register of a segment. durable.ErrDamaged: it is none.
func openFile(path string, number uint64) (*file, error) {
	f, err := durable.OpenFile(path)
	if err != nil {
		return nil, err
	}
	r := &file{f: f}
	if err := r.head(number); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *file) head(number uint64) error {
	page := make([]byte, pageSize)
	if _, err := r.f.ReadAt(page, 0); err != nil {
		return fmt.Errorf("%w: register without a head: %v", durable.ErrDamaged, err)
	}
	d, err := codec.Decode(keyRegister, page[1:1+int(page[0])])
	if err != nil {
		return err
	}
	of := d.Uint()
	r.upTo, r.count = d.Uint(), d.Uint()
	if of != number {
		d.Fail("register of another segment")
	}
	size, err := r.f.Size()
	if err == nil && size != r.size() {
		d.Fail("register cut off")
	}
	return d.Done()
}

func (r *file) size() int64 { return int64(1+r.pages()) * pageSize }

func (r *file) pages() uint64 { return (r.count + pageEntries - 1) / pageEntries }

// page reads the entries of one page into buf.
func (r *file) page(i uint64, buf []byte) ([]uint64, error) {
	if _, err := r.f.ReadAt(buf, int64(1+i)*pageSize); errors.Is(err, os.ErrClosed) {
		return nil, ErrGone
	} else if err != nil {
		return nil, fmt.Errorf("%w: read register: %v", durable.ErrDamaged, err)
	}
	if binary.BigEndian.Uint32(buf[8*pageEntries:]) != codec.CRC(buf[:8*pageEntries]) {
		return nil, fmt.Errorf("%w: register page %d", durable.ErrDamaged, i)
	}
	entries := make([]uint64, min(pageEntries, r.count-i*pageEntries))
	for j := range entries {
		entries[j] = binary.BigEndian.Uint64(buf[8*j:])
	}
	return entries, nil
}

// find appends the slots under a tag.
func (r *file) find(tag uint64, slots []uint64) ([]uint64, error) {
	pages := r.pages()
	if pages == 0 {
		return slots, nil
	}
	buf := make([]byte, pageSize)
	i, _ := bits.Mul64(tag, pages)
	entries, err := r.page(i, buf)
	for err == nil && i > 0 && entries[0] >= tag {
		i--
		entries, err = r.page(i, buf)
	}
	for ; err == nil; entries, err = r.page(i, buf) {
		j := sort.Search(len(entries), func(j int) bool { return entries[j] >= tag })
		for ; j < len(entries) && entries[j]&^slotMask == tag; j++ {
			slots = append(slots, entries[j]&slotMask)
		}
		if i++; j < len(entries) || i == pages {
			return slots, nil
		}
	}
	return nil, err
}

// all reads every entry.
func (r *file) all() (all []uint64, err error) {
	buf := make([]byte, pageSize)
	for i := range r.pages() {
		entries, err := r.page(i, buf)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

func (r *file) close() {
	if r != nil {
		_ = r.f.Close() // read only: nothing to lose
	}
}

// Remove removes the files of segments that are gone, or are others now.
func Remove(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove register: %w", err)
		}
	}
	return nil
}
