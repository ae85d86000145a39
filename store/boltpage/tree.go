package boltpage

import (
	"bytes"
	"errors"
	"io"
	"os"

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
	return fn(&treeReader{t: t, pages: map[uint64]page{}})
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
	pages map[uint64]page
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
		var err error
		if b.inline, err = look(value[bucketHeader:], node{inline: value}); err != nil {
			fail("%s: page inside of the root %v", name, err)
		}
	}
	return b
}

// page returns a page, with what overflows from it.
func (r *treeReader) page(id uint64) page {
	if p, ok := r.pages[id]; ok {
		return p
	}
	p, err := r.t.page(id)
	if err != nil {
		panic(badPage{err})
	}
	if len(r.pages) >= cachedPages {
		clear(r.pages)
	}
	r.pages[id] = p
	return p
}

// page reads a page and looks at all of it.
func (t *Tree) page(id uint64) (p page, err error) {
	if id >= t.high {
		return p, damage("page %d is out of place", id)
	}
	b, err := readPage(t.f, id, t.high-id, nil)
	if err == nil {
		p, err = look(b, node{id: id})
	}
	if err != nil && !errors.Is(err, os.ErrClosed) {
		err = damage("page %d %v", id, err)
	}
	return p, err
}

type treeBucket struct {
	r      *treeReader
	root   uint64
	inline page // where it is not in a tree of its own
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
	inline page
	path   []step
	last   []byte
}

type step struct {
	page
	i int // where in the page
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
		i := s.search(key)
		if !s.leaf && !s.has(i, key) {
			i = max(0, i-1) // the one before leads to what is between them
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
	if c.inline.b != nil {
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
		id = s.childID(s.i)
	}
}

func (c *treeCursor) push(p page, pick func(*step) int) *step {
	s := step{page: p}
	if p.n == 0 && len(c.path) > 0 {
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
			c.down(s.childID(s.i), func(*step) int { return 0 })
			continue
		}
		if key, value = s.key(s.i), s.value(s.i); bytes.Compare(c.last, key) >= 0 {
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
	return order.Uint32(s.b[pageHeader+s.i*elementSize:])&bucketLeaf != 0
}
