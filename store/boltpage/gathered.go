package boltpage

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"sort"

	"scanrelay/store/durable"
)

// Place is where in a file a record stands.
type Place struct {
	page    uint32 // 0: it stands nowhere
	pages   uint16 // that the page takes
	element uint16 // of the page, or of one that stands inside of that
}

func placeOf(id uint64, page []byte) Place {
	return Place{page: uint32(id), pages: uint16(pagesOf(uint64(len(page))))}
}

// Gathered reads a file by a list of what is good in it, as if that stood in whole
// buckets: a damaged file is read so where there is no room for another one, or
// none may be written. It remembers 16 bytes of each record. Any goroutine may use
// it, once everything is put. The file stays open until nobody holds it any more:
// its name may go meanwhile, or become that of another one.
type Gathered struct {
	f       *durable.File
	err     error // that kept it from being opened
	size    int64
	buckets map[string]*gathered
}

// gathered is a bucket: records, whose keys are numbers, or few values by name.
type gathered struct {
	records []record // rising
	values  map[string][]byte
}

type record struct {
	key uint64
	at  Place
}

// NewGathered makes one of a file with empty buckets.
func NewGathered(path string, names ...[]byte) *Gathered {
	g := &Gathered{size: durable.Size(path), buckets: map[string]*gathered{}}
	g.f, g.err = durable.OpenFile(path)
	for _, name := range names {
		g.buckets[string(name)] = &gathered{values: map[string][]byte{}}
	}
	return g
}

// PutRecord puts a record that stands somewhere in the file; at the zero Place it
// is empty. Of one that is there already nothing changes.
func (g *Gathered) PutRecord(bucket, key []byte, at Place) {
	b, r := g.buckets[string(bucket)], record{binary.BigEndian.Uint64(key), at}
	if !g.Has(bucket, key) {
		b.records = slices.Insert(b.records, b.search(r.key), r)
	}
}

// PutValue puts a value that is kept in memory.
func (g *Gathered) PutValue(bucket, key, value []byte) {
	g.buckets[string(bucket)].values[string(key)] = bytes.Clone(value)
}

// Has reports whether there is a record, Keys lists their numbers, rising.
func (g *Gathered) Has(bucket, key []byte) bool {
	b, n := g.buckets[string(bucket)], binary.BigEndian.Uint64(key)
	i := b.search(n)
	return i < len(b.records) && b.records[i].key == n
}

// Keys is said at Has.
func (g *Gathered) Keys(bucket []byte) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, r := range g.buckets[string(bucket)].records {
			if !yield(r.key) {
				return
			}
		}
	}
}

// search finds where a key is, or would be.
func (b *gathered) search(key uint64) int {
	if n := len(b.records); n == 0 || b.records[n-1].key < key { // mostly they come in order
		return n
	}
	return sort.Search(len(b.records), func(i int) bool { return b.records[i].key >= key })
}

// View reads the file. ErrDamaged: something cannot be read any more.
func (g *Gathered) View(fn func(Reader) error) (err error) {
	if g.err != nil {
		return g.err
	}
	defer recoverPage(&err)
	return fn(&gatheredReader{g: g})
}

// Close closes nothing: others may read on.
func (g *Gathered) Close() error { return nil }

type gatheredReader struct {
	g    *Gathered
	at   Place // of the page that was read last
	page []byte
}

func (r *gatheredReader) Size() int64 { return r.g.size }

func (r *gatheredReader) Bucket(name []byte) Bucket {
	if b := r.g.buckets[string(name)]; b != nil {
		return &gatheredBucket{r, b, name}
	}
	return nil
}

// value reads a record where it stands.
func (r *gatheredReader) value(bucket []byte, rec record) []byte {
	if rec.at.page == 0 {
		return []byte{}
	}
	if r.page == nil || r.at.page != rec.at.page {
		page := make([]byte, int(rec.at.pages)*PageSize)
		if _, err := r.g.f.ReadAt(page, int64(rec.at.page)*PageSize); err != nil {
			fail("page %d cannot be read: %v", rec.at.page, err)
		}
		r.at, r.page = rec.at, page
	}
	i, key := int(rec.at.element), binary.BigEndian.AppendUint64(nil, rec.key)
	if value, ok := valueAt(r.page, i, key); ok {
		return value
	}
	n, _ := count(r.page)
	for b := range n { // it is in a page inside of this one
		inside, ok := valueAt(r.page, b, bucket)
		if !ok || len(inside) < bucketHeader+pageHeader {
			continue
		}
		if value, ok := valueAt(inside[bucketHeader:], i, key); ok {
			return value
		}
	}
	fail("record %d is not on page %d any more", rec.key, rec.at.page)
	return nil
}

// valueAt returns the value of a leaf's i-th element, if it has this key.
func valueAt(page []byte, i int, key []byte) ([]byte, bool) {
	if n, err := count(page); err != nil || i >= n {
		return nil, false
	}
	_, k, value, err := element(page, i, true)
	return value, err == nil && bytes.Equal(k, key)
}

type gatheredBucket struct {
	r    *gatheredReader
	b    *gathered
	name []byte
}

func (b *gatheredBucket) Get(key []byte) []byte {
	if len(b.b.values) > 0 || len(key) != 8 {
		return b.b.values[string(key)]
	}
	if k, v := b.Cursor().Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

func (b *gatheredBucket) Cursor() Cursor { return &gatheredCursor{b: b} }

// gatheredCursor goes through records.
type gatheredCursor struct {
	b *gatheredBucket
	i int
}

func (c *gatheredCursor) First() (key, value []byte) { return c.to(0) }

func (c *gatheredCursor) Last() (key, value []byte) { return c.to(len(c.b.b.records) - 1) }

func (c *gatheredCursor) Next() (key, value []byte) { return c.to(c.i + 1) }

func (c *gatheredCursor) Seek(key []byte) (k, value []byte) {
	return c.to(c.b.b.search(binary.BigEndian.Uint64(key)))
}

func (c *gatheredCursor) to(i int) (key, value []byte) {
	if c.i = i; i < 0 || i >= len(c.b.b.records) {
		return nil, nil
	}
	rec := c.b.b.records[i]
	return binary.BigEndian.AppendUint64(nil, rec.key), c.b.r.value(c.b.name, rec)
}
