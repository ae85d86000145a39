package quarantine

import (
	"fmt"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
)

// counts are saved with the entries, so they always agree with them.
type counts struct {
	next      uint64 // number of the next entry; the first is 1
	count     int    // entries now
	bytes     int64  // what they take, about
	forgotten uint64 // entries dropped for room
}

func (c *counts) store(tx *bolt.Tx) error {
	e := codec.NewEncoder(32)
	e.Uint(c.next)
	e.Uint(uint64(c.count))
	e.Uint(uint64(c.bytes))
	e.Uint(c.forgotten)
	return tx.Bucket(bucketState).Put(keyCounts, e.Frame(keyCounts))
}

func (c *counts) load(tx *bolt.Tx) error {
	d, err := codec.Decode(keyCounts, boltpage.Value(tx, bucketState, keyCounts))
	if err != nil {
		return err
	}
	c.next, c.count, c.bytes, c.forgotten = d.Uint(), int(d.Uint()), int64(d.Uint()), d.Uint()
	return d.Done()
}

// bucket is the entries and counts within one commit.
type bucket struct {
	counts
	in     *bolt.Bucket
	cipher *crypt.Cipher
	salt   crypt.Salt
}

// take returns the next entry's number.
func (b *bucket) take() uint64 {
	b.next++
	return b.next - 1
}

func (b *bucket) put(seq uint64, r *scan.Reject) error {
	key := codec.Key(seq)
	value := b.cipher.Encrypt(crypt.RejectRecord, key, b.salt, encode(r))
	if err := b.in.Put(key, value); err != nil {
		return fmt.Errorf("put reject: %w", err)
	}
	b.count++
	b.bytes += cost(value)
	return nil
}

// remove takes an entry out; false: it is gone already.
func (b *bucket) remove(seq uint64) (bool, error) {
	old := b.in.Get(codec.Key(seq))
	if old == nil {
		return false, nil
	}
	b.count--
	b.bytes -= cost(old)
	if err := b.in.Delete(codec.Key(seq)); err != nil {
		return true, fmt.Errorf("take out reject: %w", err)
	}
	return true, nil
}

// shrink drops the oldest entries until the bounds hold. A quarter of the file
// is left to the tree and to pages that are not free yet.
func (b *bucket) shrink(size int64, maxCount int) error {
	c := b.in.Cursor()
	for k, v := c.First(); k != nil && (b.bytes > size/4*3 || b.count > maxCount); k, v = c.First() {
		b.bytes -= cost(v)
		b.count--
		b.forgotten++
		if err := c.Delete(); err != nil {
			return fmt.Errorf("drop oldest reject: %w", err)
		}
	}
	return nil
}

// cost is what a value takes in the file: what does not share a page gets
// pages of its own.
func cost(value []byte) int64 {
	n := int64(len(value) + 64)
	if n > boltpage.PageSize/2 {
		n = (n + boltpage.PageSize - 1) / boltpage.PageSize * boltpage.PageSize
	}
	return n
}

func encode(r *scan.Reject) []byte {
	e := codec.NewEncoder(32 + len(r.Topic) + len(r.Payload) + len(r.Code) + len(r.Reason))
	e.Text(r.Topic)
	e.Int(int64(r.Index))
	e.Text(r.Code)
	e.Text(codec.Cut(r.Reason, codec.MaxReason))
	e.Time(r.ReceivedAt)
	e.Text(string(r.Payload))
	return e.Begun()
}

// Decrypt reads an entry as it stands in BucketRejects.
func Decrypt(cipher *crypt.Cipher, key, value []byte) (scan.Reject, error) {
	body, err := cipher.Decrypt(crypt.RejectRecord, key, value, nil)
	if err != nil {
		return scan.Reject{}, err
	}
	return decode(body)
}

func decode(body []byte) (scan.Reject, error) {
	d := codec.NewDecoder(body)
	r := scan.Reject{Topic: d.Text(), Index: int(d.Int()), Code: d.Text(), Reason: d.Text(), ReceivedAt: d.Time()}
	r.Payload = []byte(d.Text())
	return r, d.Done()
}
