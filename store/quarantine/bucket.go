package quarantine

import (
	"fmt"
	"slices"
	"time"

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

	vacantCount int   // of the entries those without a waybill number
	vacantBytes int64 // and what they take
}

func (c *counts) store(tx *bolt.Tx) error {
	e := codec.NewEncoder(32)
	e.Uint(c.next)
	e.Uint(uint64(c.count))
	e.Uint(uint64(c.bytes))
	e.Uint(c.forgotten)
	if err := tx.Bucket(bucketState).Put(keyCounts, e.Frame(keyCounts)); err != nil {
		return err
	}
	e = codec.NewEncoder(16)
	e.Uint(uint64(c.vacantCount))
	e.Uint(uint64(c.vacantBytes))
	return tx.Bucket(bucketState).Put(keyVacant, e.Frame(keyVacant))
}

func (c *counts) load(r boltpage.Reader) error {
	d, err := codec.Decode(keyCounts, boltpage.Value(r, bucketState, keyCounts))
	if err != nil {
		return err
	}
	c.next, c.count, c.bytes, c.forgotten = d.Uint(), int(d.Uint()), int64(d.Uint()), d.Uint()
	if err := d.Done(); err != nil {
		return err
	}
	saved := boltpage.Value(r, bucketState, keyVacant)
	if len(saved) == 0 {
		return nil // the file was made before they were told apart
	}
	if d, err = codec.Decode(keyVacant, saved); err != nil {
		return err
	}
	c.vacantCount, c.vacantBytes = int(d.Uint()), int64(d.Uint())
	return d.Done()
}

// bucket is the entries and counts within one commit.
type bucket struct {
	counts
	in     *bolt.Bucket
	vacant *bolt.Bucket // numbers of the entries without a waybill number, with their cost
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
	if r.Code != scan.NoWaybill {
		return nil
	}
	b.vacantCount++
	b.vacantBytes += cost(value)
	if err := b.vacant.Put(key, codec.Key(uint64(cost(value)))); err != nil {
		return fmt.Errorf("put reject: %w", err)
	}
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
	return true, b.notVacant(codec.Key(seq))
}

// notVacant takes a number out of those without a waybill number, if it is there.
func (b *bucket) notVacant(key []byte) error {
	was := b.vacant.Get(key)
	if len(was) != 8 {
		return nil
	}
	b.vacantCount--
	b.vacantBytes -= int64(codec.Seq(was))
	if err := b.vacant.Delete(key); err != nil {
		return fmt.Errorf("take out reject: %w", err)
	}
	return nil
}

// shrink drops the oldest entries until the bounds hold, first of those without a
// waybill number what is beyond their half. A quarter of the file is left to the
// tree and to pages that are not free yet.
func (b *bucket) shrink(size int64, maxCount int) error {
	bytes := size / 4 * 3
	for b.vacantCount > 1 && (b.vacantBytes > bytes/2 || b.vacantCount > maxCount/2) {
		if more, err := b.forget(b.vacant); err != nil {
			return err
		} else if !more {
			b.vacantCount, b.vacantBytes = 0, 0
		}
	}
	for b.bytes > bytes || b.count > maxCount {
		if more, err := b.forget(b.in); err != nil || !more {
			return err
		}
	}
	return nil
}

// forget drops the oldest entry that is listed; false: none is.
func (b *bucket) forget(listed *bolt.Bucket) (bool, error) {
	key, _ := listed.Cursor().First()
	if key == nil {
		return false, nil
	}
	key = slices.Clone(key)
	there, err := b.remove(codec.Seq(key))
	if err == nil && !there {
		err = b.notVacant(key)
	}
	if there {
		b.forgotten++
	}
	return true, err
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
	if c := r.Clockless; c != nil {
		e.Text(c.Boot)
		e.Int(int64(c.Since))
	}
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
	if d.More() {
		r.Clockless = &scan.BootTime{Boot: d.Text(), Since: time.Duration(d.Int())}
	}
	return r, d.Done()
}
