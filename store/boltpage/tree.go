package boltpage

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sort"

	"scanrelay/store/durable"
)

const (
	// maxDepth bounds a tree. A full segment of the largest size has four levels.
	maxDepth = 16
	// cachedPages is how many pages one View keeps.
	cachedPages = 64
)

// Tree reads a bbolt file that nobody writes to, without bbolt. It looks at every
// page before it follows it: none makes it panic, or go on for ever, and a block
// that the disk cannot read is an error, no fault. Any goroutine may use it.
type Tree struct {
	f    *durable.File
	root uint64 // page of the root bucket
	high uint64 // pages that are in use, and free ones among them
}

// OpenTree opens a file as its last transaction left it.
func OpenTree(path string) (*Tree, error) {
	f, err := durable.OpenFile(path)
	if err != nil {
		return nil, err
	}
	t := &Tree{f: f}
	if err := t.readMeta(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

func (t *Tree) readMeta() error {
	newest := uint64(0)
	for id := range uint64(2) {
		b := make([]byte, metaPageSize)
		if err := t.read(b, id); err != nil {
			return err
		}
		if m := b[metaOffset:]; metaValid(m, id) && (t.high == 0 || metaTx(m) > newest) {
			newest, t.root, t.high = metaTx(m), order.Uint64(m[16:]), order.Uint64(m[40:])
		}
	}
	if t.high == 0 {
		return damage("both meta pages are")
	}
	return nil
}

// read reads from the beginning of a page. A file that ends before is damaged, and
// so is one that the disk could not read for seconds.
func (t *Tree) read(b []byte, id uint64) error {
	_, err := t.f.ReadAt(b, int64(id)*PageSize)
	switch {
	case err == nil || errors.Is(err, os.ErrClosed):
		return err
	case err == io.EOF:
		return damage("the file ends within page %d", id)
	}
	return damage("page %d cannot be read: %v", id, err)
}

// Close closes the file.
func (t *Tree) Close() error { return t.f.Close() }

// View reads the file. What is wrong with it is the error: ErrDamaged, or what the
// disk said.
func (t *Tree) View(fn func(Reader) error) (err error) {
	defer recoverPage(&err)
	return fn(&treeReader{t: t, pages: map[uint64][]byte{}})
}

// badPage ends a View from within.
type badPage struct{ error }

// recoverPage makes an error of what ended a View.
func recoverPage(err *error) {
	r := recover()
	if bad, ok := r.(badPage); ok {
		*err = bad.error
	} else if r != nil { // a bucket that is missing
		*err = damage("%v", r)
	}
}

func fail(format string, args ...any) { panic(badPage{damage(format, args...)}) }

type treeReader struct {
	t     *Tree
	pages map[uint64][]byte
}

func (r *treeReader) Size() int64 { return int64(r.t.high) * PageSize }

func (r *treeReader) Bucket(name []byte) Bucket {
	c := treeCursor{r: r, root: r.t.root}
	key, value := c.Seek(name)
	switch {
	case !bytes.Equal(key, name):
		return nil
	case !c.bucket() || len(value) < bucketHeader:
		fail("%s is no bucket", name)
	}
	b := &treeBucket{r: r, root: order.Uint64(value)}
	if b.root == 0 {
		if b.inline = value[bucketHeader:]; len(b.inline) < pageHeader {
			fail("%s is cut off", name)
		}
		if err := inlineLayout(b.inline); err != nil {
			fail("%s: page inside of the root: %v", name, err)
		}
	}
	return b
}

// page returns a page, with what overflows from it.
func (r *treeReader) page(id uint64) []byte {
	if b := r.pages[id]; b != nil {
		return b
	}
	b, err := r.t.page(id)
	if err != nil {
		panic(badPage{err})
	}
	if len(r.pages) >= cachedPages {
		clear(r.pages)
	}
	r.pages[id] = b
	return b
}

// page reads a page and looks at all of it: elements stand one behind the other,
// and their keys rise.
func (t *Tree) page(id uint64) ([]byte, error) {
	if id < 2 || id >= t.high {
		return nil, damage("page %d is out of place", id)
	}
	b := make([]byte, PageSize)
	if err := t.read(b, id); err != nil {
		return nil, err
	}
	kind, size := order.Uint16(b[8:]), 1+uint64(order.Uint32(b[12:]))
	if order.Uint64(b) != id || kind != branchPage && kind != leafPage || size > t.high-id {
		return nil, damage("page %d makes no sense", id)
	}
	if size > 1 {
		b = make([]byte, size*PageSize)
		if err := t.read(b, id); err != nil {
			return nil, err
		}
	}
	n, err := count(b)
	if err != nil {
		return nil, damage("page %d %v", id, err)
	}
	end, whole := extent(b, n, kind == leafPage)
	if !whole || pagesOf(end) != size || n == 0 && kind == branchPage {
		return nil, damage("page %d: its elements are out of line", id)
	}
	var last []byte
	for i := range n {
		_, key, _, err := element(b, i, kind == leafPage)
		if err != nil || bytes.Compare(last, key) >= 0 {
			return nil, damage("page %d: key %d is out of order", id, i)
		}
		last = key
	}
	return b, nil
}

type treeBucket struct {
	r      *treeReader
	root   uint64
	inline []byte // its page, where it is not in a tree of its own
}

func (b *treeBucket) Cursor() Cursor { return &treeCursor{r: b.r, root: b.root, inline: b.inline} }

func (b *treeBucket) Get(key []byte) []byte {
	if k, v := b.Cursor().Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// treeCursor stands at an element of the leaf at the end of its path. The keys
// that it gives one after the other rise, so it comes to an end in any tree.
type treeCursor struct {
	r      *treeReader
	root   uint64
	inline []byte
	path   []step
	last   []byte
}

type step struct {
	page []byte
	leaf bool
	i, n int // where in the page, and how many there are
}

func (s *step) key(i int) []byte {
	_, key, _, err := element(s.page, i, s.leaf)
	if err != nil {
		fail("%v", err) // inside of the root: it was not looked at
	}
	return key
}

func (c *treeCursor) First() (key, value []byte) {
	c.begin(func(*step) int { return 0 })
	return c.here()
}

func (c *treeCursor) Last() (key, value []byte) {
	c.begin(func(s *step) int { return s.n - 1 })
	return c.here()
}

func (c *treeCursor) Seek(key []byte) (k, value []byte) {
	c.begin(func(s *step) int {
		i := sort.Search(s.n, func(i int) bool { return bytes.Compare(s.key(i), key) >= 0 })
		if !s.leaf && (i == s.n || i > 0 && !bytes.Equal(s.key(i), key)) {
			i-- // the one before leads to what is between them
		}
		return i
	})
	return c.here()
}

func (c *treeCursor) Next() (key, value []byte) {
	if len(c.path) == 0 {
		return nil, nil
	}
	c.path[len(c.path)-1].i++
	return c.here()
}

// begin goes down from the root, where pick says.
func (c *treeCursor) begin(pick func(*step) int) {
	c.path, c.last = c.path[:0], c.last[:0]
	if c.inline != nil {
		c.push(c.inline, pick)
		return
	}
	c.down(c.root, pick)
}

func (c *treeCursor) down(id uint64, pick func(*step) int) {
	for s := c.push(c.r.page(id), pick); !s.leaf; s = c.push(c.r.page(id), pick) {
		if len(c.path) >= maxDepth {
			fail("page %d: the tree goes in circles", id)
		}
		id = order.Uint64(s.page[pageHeader+s.i*elementSize+8:])
	}
}

func (c *treeCursor) push(page []byte, pick func(*step) int) *step {
	n, err := count(page)
	if err != nil {
		fail("%v", err)
	}
	s := step{page: page, leaf: order.Uint16(page[8:]) == leafPage, n: n}
	if n == 0 && len(c.path) > 0 {
		fail("a page is empty")
	}
	s.i = pick(&s)
	c.path = append(c.path, s)
	return &c.path[len(c.path)-1]
}

// here returns the element, in the next leaf where this one is at its end.
func (c *treeCursor) here() (key, value []byte) {
	for len(c.path) > 0 {
		s := &c.path[len(c.path)-1]
		switch {
		case s.i < 0 || s.i >= s.n:
			if c.path = c.path[:len(c.path)-1]; len(c.path) > 0 {
				c.path[len(c.path)-1].i++
			}
			continue
		case !s.leaf:
			c.down(order.Uint64(s.page[pageHeader+s.i*elementSize+8:]), func(*step) int { return 0 })
			continue
		}
		_, key, value, err := element(s.page, s.i, true)
		if err != nil {
			fail("%v", err)
		}
		if bytes.Compare(c.last, key) >= 0 {
			fail("keys are out of order")
		}
		c.last = append(c.last[:0], key...)
		return key, value
	}
	return nil, nil
}

// bucket reports whether it stands at a bucket.
func (c *treeCursor) bucket() bool {
	if len(c.path) == 0 {
		return false
	}
	s := &c.path[len(c.path)-1]
	return order.Uint32(s.page[pageHeader+s.i*elementSize:])&bucketLeaf != 0
}
