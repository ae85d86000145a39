package format

import (
	"errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
)

const (
	// chunkSize is how many records one read transaction looks at: a long one would keep
	// the newest segment from reusing its pages.
	chunkSize = 1000
	// scratchSize is where a buffer begins that events are decrypted into.
	scratchSize = boltpage.PageSize / 4
)

// larger returns the larger of two buffers, to be used again.
func larger(a, b []byte) []byte {
	if cap(b) > cap(a) {
		return b
	}
	return a
}

// Notes gives up to 1000 notes of a segment to fn, and returns where to go on. bad is
// why one of them cannot be read.
func Notes(r boltpage.Reader, from uint64, fn func(key uint64, n *event.Note)) (next uint64, more bool, bad error) {
	next, more = chunk(r.Bucket(BucketNotes), from, func(k, v []byte) {
		if n, err := codec.DecodeNote(k, v); err == nil {
			fn(codec.Seq(k), &n)
		} else if errors.Is(err, durable.ErrDamaged) {
			bad = err
		}
	})
	return next, more, bad
}

// Heads gives the heads of up to 1000 of a segment's own events to fn, those that can
// be read.
func Heads(r boltpage.Reader, c *crypt.Cipher, from uint64, fn func(seq uint64, h *codec.Head)) (next uint64, more bool) {
	scratch := make([]byte, 0, scratchSize)
	return chunk(r.Bucket(BucketEvents), from, func(k, v []byte) {
		body, err := c.Decrypt(crypt.EventRecord, k, v, scratch)
		if err != nil {
			return
		}
		if h, err := codec.PeekEvent(body); err == nil {
			fn(codec.Seq(k), &h)
		}
		scratch = larger(scratch, body)
	})
}

func chunk(b boltpage.Bucket, from uint64, fn func(key, value []byte)) (next uint64, more bool) {
	c, n := b.Cursor(), 0
	for k, v := c.Seek(codec.Key(from)); k != nil; k, v = c.Next() {
		if n++; n > chunkSize {
			return codec.Seq(k), true
		}
		fn(k, v)
	}
	return 0, false
}
