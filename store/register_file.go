package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"slices"
	"sort"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// registerFile is a register on disk:
//
//	one page    its frame (codec.go): segment number, upTo, number of entries
//	pages       of 511 entries each, rising, the last one filled up with ones;
//	            CRC32C of them (4 bytes), 4 zero bytes
//
// An entry is 8 bytes, big endian: tag (40 bits) and slot (24). Tags are evenly
// spread, so the page of one is guessed within one or two.
type registerFile struct {
	f     *os.File
	upTo  uint64
	count uint64
}

const (
	registerEntries = boltpage.PageSize/8 - 1
	noEntry         = ^uint64(0)
)

var keyRegister = []byte("register")

// writeRegister replaces the file at path, whole or not at all.
func writeRegister(path string, number, upTo uint64, entries []uint64) error {
	e := codec.NewEncoder(32)
	e.Uint(number)
	e.Uint(upTo)
	e.Uint(uint64(len(entries)))
	frame := e.Frame(keyRegister)
	b := make([]byte, boltpage.PageSize, boltpage.PageSize*(2+len(entries)/registerEntries))
	b[0] = byte(len(frame))
	copy(b[1:], frame)
	for page := range slices.Chunk(entries, registerEntries) {
		begin := len(b)
		for i := range registerEntries {
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

// openRegisterFile opens the register of a segment. ErrDamaged: it is none.
func openRegisterFile(path string, number uint64) (*registerFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &registerFile{f: f}
	if err := r.head(number); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *registerFile) head(number uint64) error {
	page := make([]byte, boltpage.PageSize)
	if _, err := r.f.ReadAt(page, 0); err != nil {
		return fmt.Errorf("%w: register without a head: %v", ErrDamaged, err)
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
	info, err := r.f.Stat()
	if err == nil && info.Size() != int64(1+r.pages())*boltpage.PageSize {
		d.Fail("register cut off")
	}
	return d.Done()
}

func (r *registerFile) pages() uint64 { return (r.count + registerEntries - 1) / registerEntries }

// page reads the entries of one page into buf.
func (r *registerFile) page(i uint64, buf []byte) ([]uint64, error) {
	if _, err := r.f.ReadAt(buf, int64(1+i)*boltpage.PageSize); errors.Is(err, os.ErrClosed) {
		return nil, errGone
	} else if err != nil {
		return nil, fmt.Errorf("%w: read register: %v", ErrDamaged, err)
	}
	if binary.BigEndian.Uint32(buf[8*registerEntries:]) != codec.CRC(buf[:8*registerEntries]) {
		return nil, fmt.Errorf("%w: register page %d", ErrDamaged, i)
	}
	entries := make([]uint64, min(registerEntries, r.count-i*registerEntries))
	for j := range entries {
		entries[j] = binary.BigEndian.Uint64(buf[8*j:])
	}
	return entries, nil
}

// find appends the slots under a tag.
func (r *registerFile) find(tag uint64, slots []uint64) ([]uint64, error) {
	pages := r.pages()
	if pages == 0 {
		return slots, nil
	}
	buf := make([]byte, boltpage.PageSize)
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
func (r *registerFile) all() (all []uint64, err error) {
	buf := make([]byte, boltpage.PageSize)
	for i := range r.pages() {
		entries, err := r.page(i, buf)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

func (r *registerFile) close() {
	if r != nil {
		_ = r.f.Close() // read only: nothing to lose
	}
}

// removeRegister removes the file of a segment that is gone, or is another now.
func removeRegister(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove register: %w", err)
	}
	return nil
}
