package boltpage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/durable"
)

// Finder reads a bbolt file as it stands in one transaction, page by page and
// without bbolt's map: a page that the disk is slow with holds up who reads it,
// not the process, and one that is cut off or makes no sense is an error. Every
// page is looked at before anything in it is believed. It may be used by one
// goroutine, for as long as the transaction is open.
type Finder struct {
	// Seen, if set, is told of every page that is read, with what overflows.
	Seen func(id, pages uint64)

	f       io.ReaderAt // asked once: patience with a busy disk is its own
	root    node
	buckets map[string]node
	kept    *Kept
	leaves  map[string]leaf // the last one of each bucket: keys that come in order share it
	spare   []byte          // room for a page
}

// node is where a page should be, and which keys may stand in it.
type node struct {
	bucket    string
	id        uint64
	inline    []byte // the page itself where it has no number
	low, high []byte // high nil: no bound
}

// page is a page that was looked at.
type page struct {
	b    []byte
	n    int
	leaf bool
}

type leaf struct {
	id   uint64
	page page
}

// Kept is pages that lead to others, as one transaction has them: several Finders of
// that one may share it. It is bounded.
type Kept struct {
	mu    sync.RWMutex
	pages map[uint64]page
}

const maxKept = 4096 // pages

func (k *Kept) get(id uint64) (page, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	p, ok := k.pages[id]
	return p, ok
}

func (k *Kept) put(id uint64, p page) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pages == nil || len(k.pages) >= maxKept {
		k.pages = map[uint64]page{}
	}
	k.pages[id] = p
}

// Hole is a run of keys that cannot be read: from Low on, below High, or to the
// end where that is nil. In Bucket "" all buckets are lost.
type Hole struct {
	Bucket    string
	Low, High []byte
	Err       error
}

func (h *Hole) Error() string   { return fmt.Sprintf("bucket %q: %v", h.Bucket, h.Err) }
func (h *Hole) Unwrap() []error { return []error{durable.ErrDamaged, h.Err} }

// maxPage bounds what a damaged page may say of its bytes, with what overflows.
const maxPage = 64 << 20

// Within returns a reader of a file as tx sees it, which believes what is kept of it.
func Within(tx *bolt.Tx, f io.ReaderAt, kept *Kept) *Finder {
	r := newFinder(f, uint64(tx.Cursor().Bucket().Root()))
	r.kept = kept
	return r
}

// Renew has what follows read from disk anew, but for pages that are kept.
func (r *Finder) Renew() {
	for bucket, l := range r.leaves {
		r.leaves[bucket] = leaf{page: l.page} // its room serves
	}
}

// Finder returns a reader of the file as its newest meta page has it. Nobody may
// write to it meanwhile.
func (p *File) Finder() *Finder { return newFinder(p.f, p.root) }

func newFinder(f io.ReaderAt, root uint64) *Finder {
	return &Finder{f: f, root: node{id: root}, buckets: map[string]node{}, kept: &Kept{}, leaves: map[string]leaf{}}
}

// Get returns what stands under a key in a bucket; nil: nothing. It is good until the
// bucket is read again. Its error is a *Hole.
func (r *Finder) Get(bucket string, key []byte) ([]byte, error) {
	at, ok, err := r.bucket(bucket)
	if !ok || err != nil {
		return nil, err
	}
	p, i, err := r.find(at, key)
	if err != nil || !p.has(i, key) {
		return nil, err
	}
	return p.value(i), nil
}

// Beside gives what stands in the page in which a key would stand that is not there:
// the pairs before and behind it. Where a bit turned in a key, it is one of these.
func (r *Finder) Beside(bucket string, key []byte, visit func(key, value []byte) error) error {
	at, ok, err := r.bucket(bucket)
	if !ok || err != nil {
		return err
	}
	p, i, err := r.find(at, key)
	for j := max(0, i-1); j < min(i+1, p.n) && err == nil; j++ {
		err = visit(p.key(j), p.value(j))
	}
	return err
}

// find goes down from a page to the leaf that has a key, at i, or would have it there.
func (r *Finder) find(at node, key []byte) (p page, i int, err error) {
	for range maxDepth {
		if p, err = r.page(at); err != nil {
			return page{}, 0, err
		}
		if i = p.search(key); p.leaf {
			return p, i, nil
		}
		if !p.has(i, key) {
			i = max(0, i-1)
		}
		at = p.child(at, i)
	}
	return page{}, 0, at.hole(errors.New("leads in circles"))
}

// Scan gives a bucket's keys and values from a key on, in order, until visit
// returns false. Where a page cannot be read it goes on behind it if hole returns
// true. Key and value are good only within visit.
func (r *Finder) Scan(bucket string, from []byte, visit func(key, value []byte) bool, hole func(*Hole) bool) {
	at, ok, err := r.bucket(bucket)
	switch {
	case err != nil:
		hole(err.(*Hole))
	case ok:
		r.scan(at, 0, from, visit, hole)
	}
}

// Sound gives the pairs of a bucket that check believes, until visit returns false,
// and returns the runs of keys that cannot be read, or not be believed. Where a value
// is not sound its key may be another's: whatever may have stood between its
// neighbours is in doubt.
func (r *Finder) Sound(bucket string, check func(key, value []byte) error, visit func(key, value []byte) bool) (holes []*Hole) {
	var open *Hole // up to the next sound key
	var low []byte // above the last one
	r.Scan(bucket, nil, func(k, v []byte) bool {
		if bad := check(k, v); bad != nil {
			if open == nil {
				open = &Hole{Bucket: bucket, Low: bytes.Clone(low), Err: bad}
				holes = append(holes, open)
			}
			return true
		}
		if open != nil {
			open.High, open = bytes.Clone(k), nil
		}
		low = append(append(low[:0], k...), 0)
		return visit(k, v)
	}, func(h *Hole) bool {
		holes = append(holes, h)
		return true
	})
	return holes
}

func (r *Finder) scan(at node, depth int, from []byte, visit func(key, value []byte) bool, hole func(*Hole) bool) bool {
	p, err := r.page(at)
	if err == nil && depth > maxDepth {
		err = at.hole(errors.New("leads in circles"))
	}
	if err != nil {
		return hole(err.(*Hole))
	}
	if l := r.leaves[at.bucket]; p.leaf && l.id == at.id { // what visit reads must not take its place
		delete(r.leaves, at.bucket)
		defer r.keep(at.bucket, l)
	}
	for i := range p.n {
		switch {
		case p.leaf && bytes.Compare(p.key(i), from) < 0, !p.leaf && i+1 < p.n && bytes.Compare(p.key(i+1), from) <= 0:
		case p.leaf && !visit(p.key(i), p.value(i)):
			return false
		case !p.leaf && !r.scan(p.child(at, i), depth+1, from, visit, hole):
			return false
		}
	}
	return true
}

// bucket finds a bucket in the root; false: there is none of that name.
func (r *Finder) bucket(name string) (node, bool, error) {
	if at, ok := r.buckets[name]; ok {
		return at, true, nil
	}
	p, i, err := r.find(r.root, []byte(name))
	switch {
	case err != nil:
		h := err.(*Hole)
		return node{}, false, &Hole{Bucket: name, Err: h.Err}
	case !p.has(i, []byte(name)):
		return node{}, false, nil
	}
	value := p.value(i)
	if len(value) < bucketHeader {
		return node{}, false, &Hole{Bucket: name, Err: errors.New("its header is cut off")}
	}
	at := node{bucket: name, id: order.Uint64(value)}
	if at.id == 0 {
		at.inline = bytes.Clone(value[bucketHeader:])
	}
	r.buckets[name] = at
	return at, true, nil
}

func (n node) hole(err error) *Hole {
	if n.inline == nil {
		err = fmt.Errorf("page %d %w", n.id, err)
	}
	return &Hole{Bucket: n.bucket, Low: bytes.Clone(n.low), High: bytes.Clone(n.high), Err: err}
}

// page reads a page and looks at it.
func (r *Finder) page(at node) (page, error) {
	if at.inline == nil {
		if p, ok := r.kept.get(at.id); ok {
			return p, nil
		}
		if l, ok := r.leaves[at.bucket]; ok && l.id == at.id {
			return l.page, nil
		}
	}
	b, err := at.inline, error(nil)
	if b == nil {
		b, err = readPage(r.f, at.id, maxPage/PageSize, r.spare)
		r.spare = nil
	}
	var p page
	if err == nil {
		p, err = look(b, at)
	}
	if err == nil {
		err = p.bounds(&at)
	}
	switch {
	case err != nil:
		return page{}, at.hole(err)
	case at.inline != nil:
		return p, nil
	case r.Seen != nil:
		r.Seen(at.id, 1+uint64(order.Uint32(b[12:])))
	}
	if p.leaf && at.bucket != "" {
		r.keep(at.bucket, leaf{at.id, p})
	} else {
		r.kept.put(at.id, p)
	}
	return p, nil
}

// keep keeps a leaf as its bucket's last one, whose room is the next one's.
func (r *Finder) keep(bucket string, l leaf) {
	if old := r.leaves[bucket]; len(old.page.b) == PageSize {
		r.spare = old.page.b
	}
	r.leaves[bucket] = l
}

// readPage reads a page of at most that many pages with what overflows from it, into
// spare where it fits.
func readPage(f io.ReaderAt, id, most uint64, spare []byte) ([]byte, error) {
	b := spare
	if len(b) != PageSize {
		b = make([]byte, PageSize)
	}
	if err := readAt(f, b, id); err != nil {
		return nil, err
	}
	switch size := 1 + uint64(order.Uint32(b[12:])); {
	case order.Uint64(b) != id:
		return nil, errors.New("has another's number")
	case size > most:
		return nil, errors.New("is longer than any page")
	case size > 1:
		b = make([]byte, size*PageSize)
		return b, readAt(f, b, id)
	}
	return b, nil
}

func readAt(f io.ReaderAt, b []byte, id uint64) (err error) {
	if id < 2 || id > 1<<50 {
		return errors.New("can be none")
	}
	switch _, err = f.ReadAt(b, int64(id)*PageSize); err {
	case nil:
		return nil
	case io.EOF:
		return errors.New("is cut off")
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// look says what is wrong with the form of a page, and whether its keys rise.
func look(b []byte, at node) (page, error) {
	if len(b) < pageHeader {
		return page{}, errors.New("is cut off")
	}
	kind := order.Uint16(b[8:])
	p := page{b: b, n: int(order.Uint16(b[10:])), leaf: kind == leafPage}
	switch {
	case kind != branchPage && kind != leafPage:
		return page{}, errors.New("is of no known kind")
	case pageHeader+p.n*elementSize > len(b):
		return page{}, errors.New("has more elements than room")
	case p.n == 0 && !p.leaf:
		return page{}, errors.New("is empty")
	case at.inline != nil && (!p.leaf || order.Uint32(b[12:]) != 0):
		return page{}, errors.New("is no leaf")
	}
	switch end, whole := extent(b, p.n, p.leaf); {
	case !whole || end > uint64(len(b)) || at.inline != nil && end != uint64(len(b)):
		return page{}, errors.New("has elements out of line")
	case at.inline == nil && pagesOf(end) != uint64(len(b))/PageSize:
		return page{}, errors.New("says that it is of another length than it is")
	}
	var last []byte
	for i := range p.n {
		key := p.key(i)
		if bytes.Compare(last, key) >= 0 {
			return page{}, fmt.Errorf("has key %d out of order", i)
		}
		if p.leaf && at.bucket != "" && order.Uint32(b[pageHeader+i*elementSize:]) != 0 {
			return page{}, errors.New("has a bucket where none should be")
		}
		last = key
	}
	return p, nil
}

// bounds says whether a page's keys stand between those that lead to it. If not
// the bounds are widened to all that is in doubt.
func (p page) bounds(at *node) (err error) {
	if p.n == 0 {
		return nil
	}
	if first := p.key(0); bytes.Compare(first, at.low) < 0 {
		at.low, err = first, errors.New("has keys of others")
	}
	if last := p.key(p.n - 1); at.high != nil && bytes.Compare(last, at.high) >= 0 {
		at.high, err = append(bytes.Clone(last), 0), errors.New("has keys of others")
	}
	return err
}

// search finds the first element whose key is not below key.
func (p page) search(key []byte) int {
	return sort.Search(p.n, func(i int) bool { return bytes.Compare(p.key(i), key) >= 0 })
}

func (p page) has(i int, key []byte) bool { return i < p.n && bytes.Equal(p.key(i), key) }

func (p page) key(i int) []byte {
	at, k, _ := place(p.b, i, p.leaf)
	return p.b[at : at+k : at+k]
}

func (p page) value(i int) []byte {
	at, k, v := place(p.b, i, true)
	return p.b[at+k : at+k+v : at+k+v]
}

func (p page) childID(i int) uint64 { return order.Uint64(p.b[pageHeader+i*elementSize+8:]) }

// child is what a branch's i-th element leads to.
func (p page) child(at node, i int) node {
	c := node{bucket: at.bucket, id: p.childID(i), low: p.key(i), high: at.high}
	if i+1 < p.n {
		c.high = p.key(i + 1)
	}
	return c
}

// Free returns the pages that a file's list says are free: each once, none
// beyond the end. nil: the file has no list.
func (p *File) Free() (free []uint64, err error) {
	if p.freelist == 0 || p.freelist == noFreelist {
		return nil, nil
	}
	b, err := readPage(p.f, p.freelist, maxPage/PageSize, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: list of free pages: page %d %w", durable.ErrDamaged, p.freelist, err)
	}
	wrong := fmt.Errorf("%w: list of free pages on page %d", durable.ErrDamaged, p.freelist)
	n, at := uint64(order.Uint16(b[10:])), uint64(pageHeader)
	if n == 0xFFFF { // bbolt: the true number stands first
		n, at = order.Uint64(b[at:]), at+8
	}
	if order.Uint16(b[8:]) != freelistPage || n > (uint64(len(b))-at)/8 {
		return nil, wrong
	}
	free = make([]uint64, n)
	for i := range free {
		free[i] = order.Uint64(b[at+8*uint64(i):])
		if free[i] < 2 || free[i] >= p.high || i > 0 && free[i] <= free[i-1] {
			return nil, wrong
		}
	}
	return free, nil
}

// High is how many pages of the file are in use, free ones among them.
func (p *File) High() uint64 { return p.high }
