package boltpage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"scanrelay/store/durable"
)

// File reads a bbolt file without bbolt. It walks the tree as it is on
// disk, each page once, and says what is wrong. It only reads, and is bounded by
// the file's size.
type File struct {
	Pages   uint64          // that the file has
	Metas   int             // meta pages that are good, of two
	Failed  error           // the last one that a read failed with for good
	Buckets map[string]bool // that were met
	At      Place           // of what is visited

	f        *durable.File
	depth    int    // of the page that is looked at
	root     uint64 // page of the root bucket; 0: no meta page is good
	high     uint64 // pages that are in use, and free ones among them
	freelist uint64 // where bbolt would read which pages are free
	seen     []bool // pages that were met

	shallow  bool // branch pages only
	visit    func(bucket string, key, value []byte)
	problem  func(bucket, what string)
	last     []byte // a copy of the key that was visited before in the bucket; empty: none was
	inBucket string
	one      []byte // room for one page: most are leaves, done with before the next is read
}

// Flags of bbolt's pages and of their elements (its internal/common/page.go).
const (
	pageHeader   = 16
	elementSize  = 16
	branchPage   = 0x01
	leafPage     = 0x02
	bucketLeaf   = 0x01
	bucketHeader = 16
)

// Where the fields of bbolt's meta page stand (its internal/common/meta.go);
// numbers are in the machine's byte order.
const (
	metaOffset   = 16 // behind the page header
	metaSummed   = 56 // bytes that the checksum covers
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	freelistPage = 0x10
	noFreelist   = 1<<64 - 1 // in place of the page with the list of free ones
	metaPageSize = metaOffset + metaSummed + 8
)

var order = binary.NativeEndian

// Open opens a file. Damage of any kind is no error of it.
func Open(path string) (*File, error) {
	f, err := durable.OpenFile(path)
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read pages: %w", err), f.Close())
	}
	p := &File{f: f, Pages: uint64(size) / PageSize, Buckets: map[string]bool{}, one: make([]byte, PageSize)}
	var newest uint64
	for id := range uint64(2) {
		b := make([]byte, metaPageSize)
		m := b[metaOffset:]
		if err := p.read(b, id); err != nil || !metaValid(m, id) {
			continue
		}
		p.Metas++
		if tx := metaTx(m); p.root == 0 || tx > newest {
			newest, p.root, p.high, p.freelist = tx, order.Uint64(m[16:]), order.Uint64(m[40:]), order.Uint64(m[32:])
		}
	}
	p.seen = make([]bool, p.Pages)
	return p, nil
}

// metaValid reports whether a meta page is one, and stands where it belongs: each
// transaction writes the other one of the two.
func metaValid(m []byte, id uint64) bool {
	h := fnv.New64a()
	h.Write(m[:metaSummed]) // never fails
	return metaTx(m)%2 == id && order.Uint32(m) == metaMagic && order.Uint32(m[4:]) == metaVersion && order.Uint32(m[8:]) == PageSize &&
		order.Uint64(m[metaSummed:]) == h.Sum64()
}

// metaTx returns the number of a meta page's transaction.
func metaTx(m []byte) uint64 { return order.Uint64(m[48:]) }

// Close closes the file.
func (p *File) Close() error { return p.f.Close() }

// Walk goes through all of the tree and gives what stands in its buckets to
// visit; key and value are good only within it. What it cannot read it gives to
// problem and passes. It can be done once.
func (p *File) Walk(visit func(bucket string, key, value []byte), problem func(bucket, what string)) {
	p.visit, p.problem = visit, problem
	switch {
	case p.root == 0:
		p.problem("", "both meta pages are damaged")
		return
	case p.high > p.Pages:
		p.problem("", fmt.Sprintf("file is cut off: %d of %d pages", p.Pages, p.high))
		p.high = p.Pages
	}
	if p.freelist != noFreelist { // none is ever written; bbolt would believe it
		p.problem("", "there is a list of free pages")
	}
	p.tree(p.root, nil)
}

// tree visits a page and what hangs on it; no key may be below low.
func (p *File) tree(id uint64, low []byte) {
	p.depth++
	defer func() { p.depth-- }()
	page, err := p.page(id)
	switch {
	case err != nil:
	case p.depth > 2*maxDepth: // the root bucket has a tree, too
		err = errors.New("is too deep down")
	case order.Uint16(page[8:]) == branchPage:
		err = p.branch(bytes.Clone(page), low)
	case p.inBucket == "": // the root, which leads to the buckets
		err = p.leaf(bytes.Clone(page), placeOf(id, page), low)
	default:
		err = p.leaf(page, placeOf(id, page), low)
	}
	if err != nil {
		p.problem(p.inBucket, fmt.Sprintf("page %d: %v", id, err))
	}
}

func (p *File) branch(page, low []byte) error {
	n, err := count(page)
	if err == nil && n == 0 {
		err = errors.New("is empty")
	}
	leaves := false
	for i := 0; i < n && err == nil; i++ {
		var key []byte
		if _, key, _, err = element(page, i, false); err != nil {
			break
		}
		child := order.Uint64(page[pageHeader+i*elementSize+8:])
		if p.shallow && i == 0 {
			leaves = p.isLeaf(child)
		}
		if leaves {
			if !p.mark(child) {
				err = fmt.Errorf("leaf %d is out of place", child)
			}
			continue
		}
		if p.outOfOrder(key, low) {
			p.problem(p.inBucket, fmt.Sprintf("page %d: key %d is out of order", order.Uint64(page), i))
		}
		p.tree(child, key)
	}
	return err
}

// outOfOrder reports whether a key may not follow the one before, or not stand
// under low.
func (p *File) outOfOrder(key, low []byte) bool {
	return len(p.last) > 0 && bytes.Compare(p.last, key) >= 0 || bytes.Compare(key, low) < 0
}

func (p *File) isLeaf(id uint64) bool {
	b := make([]byte, pageHeader)
	_, err := p.f.ReadAt(b, int64(min(id, p.Pages))*PageSize)
	return err == nil && order.Uint16(b[8:]) == leafPage
}

// leaf visits the elements of a leaf, or of a page that stands inside of one.
func (p *File) leaf(page []byte, at Place, low []byte) error {
	n, err := count(page)
	for i := 0; i < n && err == nil; i++ {
		flags, key, value, bad := element(page, i, true)
		switch {
		case bad != nil:
		case p.outOfOrder(key, low):
			bad = fmt.Errorf("key %d is out of order", i)
		default:
			p.last = append(p.last[:0], key...)
		}
		isBucket := flags&bucketLeaf != 0
		if p.inBucket == "" && bad == nil && !isBucket {
			bad = fmt.Errorf("element %d is no bucket", i)
		}
		if bad != nil { // what follows may be good
			p.problem(p.inBucket, fmt.Sprintf("page %d: %v", order.Uint64(page), bad))
		}
		switch {
		case key == nil:
		case !isBucket:
			p.At = at
			p.At.element = uint16(i)
			p.visit(p.inBucket, key, value)
		case p.inBucket != "" || len(value) < bucketHeader:
			err = errors.New("has a bucket where none should be")
		default:
			p.bucket(string(key), value, at)
			p.last = append(p.last[:0], key...)
		}
	}
	return err
}

// bucket walks a bucket of the root, which has its own tree or a page inside of
// its value.
func (p *File) bucket(name string, value []byte, at Place) {
	p.inBucket, p.last = name, p.last[:0]
	p.Buckets[name] = true
	defer func() { p.inBucket = "" }()
	if root := order.Uint64(value); root != 0 {
		p.tree(root, nil)
		return
	}
	inline := value[bucketHeader:]
	err := errors.New("is cut off")
	if len(inline) >= pageHeader {
		if bad := inlineLayout(inline); bad != nil {
			p.problem(name, "page inside of the root: "+bad.Error())
		}
		err = p.leaf(inline, at, nil)
	}
	if err != nil {
		p.problem(name, "page inside of the root: "+err.Error())
	}
}

// Inline gives the elements of a bucket that stands inside of its value.
func (p *File) Inline(value []byte, visit func(key, value []byte)) {
	if len(value) < bucketHeader+pageHeader || order.Uint64(value) != 0 {
		return
	}
	p.eachReadable(value[bucketHeader:], func(_ bool, key, value []byte) { visit(key, value) })
}

func (p *File) eachReadable(leaf []byte, visit func(bucket bool, key, value []byte)) {
	n, _ := count(leaf) // 0 if it makes no sense
	for i := range n {
		if flags, key, value, err := element(leaf, i, true); err == nil {
			p.At.element = uint16(i)
			visit(flags&bucketLeaf != 0, key, value)
		}
	}
}

// Strays gives every element of the leaf pages that walk did not reach.
func (p *File) Strays(visit func(bucket bool, key, value []byte)) {
	for id := uint64(2); id < p.Pages; id++ {
		head := make([]byte, pageHeader)
		if p.seen[id] || p.read(head, id) != nil {
			continue
		}
		more := uint64(order.Uint32(head[12:]))
		if order.Uint16(head[8:]) != leafPage || order.Uint64(head) != id || more >= p.Pages-id {
			continue
		}
		if page := make([]byte, (1+more)*PageSize); p.read(page, id) == nil {
			p.At = placeOf(id, page)
			p.eachReadable(page, visit)
		}
	}
}
