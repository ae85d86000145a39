package boltpage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// page reads a page with what overflows from it. Each is read once. What is
// wrong with it is the error, or is only reported where elements may be good all
// the same. It is good until the next page is read.
//
// bbolt writes a page's elements one behind the other, right behind their table,
// into as many pages as they need. So a number that was changed in the header or
// in the table gives itself away here, before anything is looked for where it
// points to.
func (p *File) page(id uint64) ([]byte, error) {
	if !p.mark(id) {
		return nil, errors.New("is out of place")
	}
	b := p.one
	if err := p.read(b, id); err != nil {
		return nil, err
	}
	kind, n := order.Uint16(b[8:]), uint64(order.Uint16(b[10:]))
	switch {
	case order.Uint64(b) != id:
		return nil, errors.New("has another's number")
	case kind != branchPage && kind != leafPage:
		return nil, errors.New("is of no known kind")
	}
	table, size := pagesOf(pageHeader+n*elementSize), 1+uint64(order.Uint32(b[12:]))
	if table > p.high-id {
		return nil, errors.New("has more elements than room")
	}
	if table > 1 {
		b = make([]byte, table*PageSize)
		if err := p.read(b, id); err != nil {
			return nil, err
		}
	}
	if end, whole := extent(b, int(n), kind == leafPage); !whole {
		p.problem(p.inBucket, fmt.Sprintf("page %d: its elements are out of line", id))
	} else if pagesOf(end) != size {
		p.problem(p.inBucket, fmt.Sprintf("page %d: says that it takes %d pages, and takes %d", id, size, pagesOf(end)))
		size = pagesOf(end) // the table agrees with itself
	}
	if size > p.high-id {
		return nil, errors.New("is longer than the file")
	}
	return p.overflow(b, id, size)
}

// overflow takes the pages that a page runs on into.
func (p *File) overflow(b []byte, id, size uint64) ([]byte, error) {
	for next := id + 1; next < id+size; next++ {
		if !p.mark(next) {
			for ; next > id+1; next-- { // they are others'
				p.seen[next-1] = false
			}
			return nil, errors.New("overlaps another")
		}
	}
	if size*PageSize <= uint64(len(b)) {
		return b, nil
	}
	b = make([]byte, size*PageSize)
	return b, p.read(b, id)
}

// read reads from the beginning of a page.
func (p *File) read(b []byte, id uint64) error {
	_, err := p.f.ReadAt(b, int64(id)*PageSize)
	if err != nil && err != io.EOF {
		p.Failed = err
	}
	return err
}

func pagesOf(bytes uint64) uint64 { return (bytes + PageSize - 1) / PageSize }

// mark reports whether a page may be where it was met: within the file, and for
// the first time.
func (p *File) mark(id uint64) bool {
	if id < 2 || id >= p.high || p.seen[id] {
		return false
	}
	p.seen[id] = true
	return true
}

// place returns what the table says of the i-th element: where in the page it
// begins, and how long its key and value are.
func place(page []byte, i int, leaf bool) (at, ksize, vsize uint64) {
	at = uint64(pageHeader + i*elementSize)
	e := page[at:]
	if leaf {
		return at + uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
	}
	return at + uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])), 0
}

// extent returns where a page of n elements ends, by its table; whole: one
// element begins where the one before ends, and where there is none nothing
// stands behind the header, since bbolt clears what it writes to.
func extent(page []byte, n int, leaf bool) (end uint64, whole bool) {
	end = uint64(pageHeader + n*elementSize)
	whole = n > 0 || len(bytes.TrimLeft(page[pageHeader:], "\x00")) == 0
	for i := 0; i < n && whole; i++ {
		at, ksize, vsize := place(page, i, leaf)
		whole = at == end
		end += ksize + vsize
	}
	return end, whole
}

// inlineLayout says what is wrong with a page that stands inside of a bucket's
// value.
func inlineLayout(page []byte) error {
	n, err := count(page)
	if err != nil {
		return err
	}
	end, whole := extent(page, n, true)
	switch {
	case order.Uint16(page[8:]) != leafPage || order.Uint32(page[12:]) != 0:
		return errors.New("is no leaf")
	case !whole || end != uint64(len(page)):
		return errors.New("its elements are out of line")
	}
	return nil
}

// element returns a branch's or leaf's i-th key, and a leaf's value.
func element(page []byte, i int, leaf bool) (flags uint32, key, value []byte, err error) {
	at, ksize, vsize := place(page, i, leaf)
	if leaf {
		flags = order.Uint32(page[pageHeader+i*elementSize:])
	}
	if at+ksize+vsize > uint64(len(page)) || at < uint64(pageHeader+(i+1)*elementSize) || ksize == 0 {
		return 0, nil, nil, fmt.Errorf("element %d lies outside", i)
	}
	kv := page[at:]
	return flags, kv[:ksize:ksize], kv[ksize : ksize+vsize : ksize+vsize], nil
}

// count returns how many elements a page has.
func count(page []byte) (int, error) {
	n := int(order.Uint16(page[10:]))
	if pageHeader+n*elementSize > len(page) {
		return 0, errors.New("has more elements than room")
	}
	return n, nil
}
