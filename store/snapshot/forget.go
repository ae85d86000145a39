package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
)

// sweepKeys is how many keys of each bucket one call of Forget looks at.
const sweepKeys = 2000

// sweep is how far Forget has come in each bucket; nil: at the start.
type sweep struct {
	waybills, answers, bindings cursor
}

type cursor struct {
	next []byte
	done bool
}

// Forget implements [Store].
func (b *Bolt) Forget(ctx context.Context, before time.Time) (Forgotten, error) {
	b.mergeMu.Lock()
	defer b.mergeMu.Unlock()
	if b.sweep.waybills.done && b.sweep.answers.done && b.sweep.bindings.done {
		b.sweep = sweep{}
	}
	limit := before.Unix()
	var f Forgotten
	var err error
	old := func(k, v []byte) bool {
		changed, err := changedOf(v)
		return err == nil && changed < limit && b.tail.state(scan.WaybillID(k)) == nil
	}
	if f.Waybills, err = b.sweepBucket(ctx, bucketWaybills, &b.sweep.waybills, old); err != nil {
		return f, fmt.Errorf("forget waybills: %w", err)
	}
	old = func(_, v []byte) bool { a, ok := decodeAnswer(v); return ok && a.at < limit }
	if f.Answers, err = b.sweepBucket(ctx, bucketAnswers, &b.sweep.answers, old); err != nil {
		return f, fmt.Errorf("forget answers: %w", err)
	}
	old = func(_, v []byte) bool { e, ok := decodeBinding(v); return ok && e.at < limit }
	if f.Bindings, err = b.sweepBucket(ctx, bucketBindings, &b.sweep.bindings, old); err != nil {
		return f, fmt.Errorf("forget bindings: %w", err)
	}
	f.Done = b.sweep.waybills.done && b.sweep.answers.done && b.sweep.bindings.done
	return f, nil
}

// sweepBucket looks at the next keys of a bucket and deletes the old ones.
func (b *Bolt) sweepBucket(ctx context.Context, name []byte, c *cursor, old func(k, v []byte) bool) (int, error) {
	if c.done {
		return 0, nil
	}
	var dead [][]byte
	var next []byte
	err := b.view(ctx, func(tx *bolt.Tx) error {
		cur := tx.Bucket(name).Cursor()
		k, v := cur.Seek(c.next)
		for i := 0; k != nil && i < sweepKeys; i++ {
			if old(k, v) {
				dead = append(dead, bytes.Clone(k))
			}
			k, v = cur.Next()
		}
		next = bytes.Clone(k)
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := b.delete(name, dead); err != nil {
		return 0, err
	}
	c.next, c.done = next, next == nil
	return len(dead), nil
}

func (b *Bolt) delete(name []byte, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	count := b.count.Load()
	if bytes.Equal(name, bucketWaybills) {
		count -= uint64(len(keys))
	}
	err := b.update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(name)
		for _, k := range keys {
			if err := bucket.Delete(k); err != nil {
				return err
			}
		}
		return putNumber(tx.Bucket(bucketMeta), metaCount, count)
	})
	if err != nil {
		if !harmless(err) && b.usable() == nil {
			b.fail(err)
		}
		return err
	}
	b.count.Store(count)
	return nil
}
