package bolt

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// sweepKeys is how many keys of each bucket one call of Forget looks at.
const sweepKeys = 2000

// round is how far Forget has come in each bucket.
type round struct {
	waybills, answers, bindings cursor
	begun                       bool
}

type cursor struct {
	next []byte // nil: at the start
	done bool
}

// Forget implements [snapshot.Store]. What is in the tail cannot be forgotten,
// so a round begins with a merge.
func (s *Store) Forget(ctx context.Context, before time.Time) (f snapshot.Forgotten, err error) {
	s.mergeMu.Lock()
	defer s.mergeMu.Unlock()
	r := &s.round
	if !r.begun {
		if err := s.mergeTail(); err != nil {
			return f, err
		}
		r.begun = true
	}
	limit := before.Unix()
	f.Waybills, err = s.sweep(ctx, bucketWaybills, &r.waybills, func(k, v []byte) bool {
		changed, err := changedOf(v)
		_, inTail := lookIn(&s.tail, s.tail.Waybills, scan.WaybillID(k))
		return err == nil && changed < limit && !inTail
	})
	if err == nil {
		f.Answers, err = s.sweep(ctx, bucketAnswers, &r.answers, func(_, v []byte) bool {
			a, ok := decodeAnswer(v)
			return ok && a.At < limit
		})
	}
	if err == nil {
		f.Bindings, err = s.sweep(ctx, bucketBindings, &r.bindings, func(_, v []byte) bool {
			b, ok := decodeBinding(v)
			return ok && b.At < limit
		})
	}
	if f.Done = r.waybills.done && r.answers.done && r.bindings.done; f.Done {
		*r = round{}
	}
	return f, err
}

// sweep looks at the next keys of a bucket and deletes the old ones.
func (s *Store) sweep(ctx context.Context, name []byte, c *cursor, old func(k, v []byte) bool) (int, error) {
	if c.done {
		return 0, nil
	}
	var dead [][]byte
	var next []byte
	err := s.view(ctx, func(tx *bbolt.Tx) error {
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
	if err == nil {
		err = s.delete(name, dead)
	}
	if err != nil {
		return 0, fmt.Errorf("forget %s: %w", name, err)
	}
	c.next, c.done = next, next == nil
	return len(dead), nil
}

func (s *Store) delete(name []byte, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	count := s.count.Load()
	if bytes.Equal(name, bucketWaybills) {
		count -= uint64(len(keys))
	}
	err := s.update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(name)
		for _, k := range keys {
			if err := bucket.Delete(k); err != nil {
				return err
			}
		}
		return putNumber(tx.Bucket(bucketMeta), metaCount, count)
	})
	if err != nil {
		return s.writeFailed(err)
	}
	s.count.Store(count)
	return nil
}
