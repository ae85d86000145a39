package bolt

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// Bounds of one call of Forget: keys that it looks at, and runs of answers that it
// finds young.
const (
	sweepKeys = 2000
	sweepRuns = 500
)

// round is one walk of Forget through what is old.
type round struct {
	begun  bool
	before int64 // unix seconds
	stage  int   // in stages
	next   []byte
}

// stages are what a round goes through, one after the other.
var stages = []func(s *Store, r *boltpage.Finder, before int64, from []byte) (swept, error){
	(*Store).agedWaybills, (*Store).agedBindings, (*Store).agedAnswers, (*Store).agedAside,
}

// swept is what one call found.
type swept struct {
	waybills, answers, bindings int
	dead                        []write // to be deleted; values are not looked at
	put                         []write
	next                        []byte // where to go on; nil: at the end
}

// Forget implements [snapshot.Store]. What is in the tail cannot be forgotten,
// so a round begins with a merge.
func (s *Store) Forget(ctx context.Context, keep snapshot.Retention) (f snapshot.Forgotten, err error) {
	s.mergeMu.Lock()
	defer s.mergeMu.Unlock()
	r := &s.round
	if !r.begun {
		if err := s.mergeTail(); err != nil {
			return f, err
		}
		if r.before, err = s.moveHorizon(keep); err != nil {
			return f, fmt.Errorf("forget: %w", err)
		}
		*r = round{begun: true, before: r.before}
		s.encryptWaits = false
	}
	if s.isClear && !s.encryptWaits {
		if waits, err := s.encrypt(ctx); err != nil || !waits {
			return f, err
		}
	}
	got, err := s.sweep(ctx)
	if err != nil {
		return f, fmt.Errorf("forget: %w", err)
	}
	f = snapshot.Forgotten{Waybills: got.waybills, Answers: got.answers, Bindings: got.bindings}
	if r.next = got.next; r.next != nil {
		return f, nil
	}
	if r.stage++; r.stage < len(stages) {
		return f, nil
	}
	before := r.before
	*r, f.Done = round{}, true
	return f, s.closeHoles(before)
}

// moveHorizon returns what may be forgotten in this round: all before that time.
func (s *Store) moveHorizon(keep snapshot.Retention) (before int64, err error) {
	s.tail.mu.RLock()
	e := judge.Evidence{Clock: s.o.Now().Unix(), Depots: judge.DepotsTime(s.tail.Depots)}
	s.tail.mu.RUnlock()
	if !keep.WeChat.IsZero() {
		e.WeChat = keep.WeChat.Unix()
	}
	h, held := s.horizon.Next(e, keep.Keep)
	s.mu.Lock()
	if held != "" && s.held == "" {
		s.o.Logger.Error("forgetting is held up", "why", held)
	}
	s.held = held
	s.mu.Unlock()
	if h == s.horizon {
		return h.At, nil
	}
	err = s.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(metaHorizon, values.EncodeHorizon(metaHorizon, h))
	})
	if err != nil {
		return 0, s.writeFailed(err)
	}
	s.horizon = h
	return h.At, nil
}

// sweep brings what an older format wrote to this one, makes the index of ages for
// files that lack one, or else takes the next keys of the round's stage; in one
// transaction.
func (s *Store) sweep(ctx context.Context) (swept, error) {
	older, unindexed, stage, at := s.older.Load(), s.unindexed, stages[s.round.stage], s.round
	indexing := !older && !s.indexed
	got, err := readBy(ctx, s, readFile, func(r *boltpage.Finder) (swept, error) {
		switch {
		case older:
			return blocksOfOld(r)
		case indexing:
			return index(r, unindexed)
		}
		return stage(s, r, at.before, at.next)
	})
	if err != nil {
		return swept{}, s.suspect(err)
	}
	renewed, indexed := older && got.next == nil, indexing && got.next == nil
	if len(got.dead)+len(got.put) > 0 || renewed || indexed {
		count := s.count.Load() - uint64(got.waybills)
		err = s.update(func(tx *bbolt.Tx) error {
			if indexed {
				if err := tx.Bucket(bucketMeta).Put(metaIndexed, []byte{1}); err != nil {
					return err
				}
			}
			for _, w := range got.dead {
				if err := boltfile.Put(tx, w.bucket, w.key, nil); err != nil {
					return err
				}
			}
			for _, w := range got.put {
				if err := boltfile.Put(tx, w.bucket, w.key, w.value); err != nil {
					return err
				}
			}
			if renewed && tx.Bucket(bucketAnswers) != nil {
				if err := tx.DeleteBucket(bucketAnswers); err != nil {
					return err
				}
			}
			return boltfile.PutNumber(tx.Bucket(bucketMeta), metaCount, count)
		})
		if err != nil {
			return swept{}, s.writeFailed(err)
		}
		s.count.Store(count)
	}
	switch {
	case older:
		s.older.Store(!renewed)
	case indexing:
		s.unindexed, s.indexed = got.next, indexed
	default:
		return got, nil
	}
	return swept{next: []byte{}}, nil // the stage itself has not begun
}

// blocksOfOld takes the first answers of formats before 3 into blocks, where newer
// ones may stand already. One that is damaged is not known any more.
func blocksOfOld(r *boltpage.Finder) (got swept, err error) {
	var bad error
	each := func(visit func(k, v []byte) error) error {
		r.Scan(string(bucketAnswers), nil, func(k, v []byte) bool {
			if len(got.dead) == sweepKeys {
				got.next = []byte{}
				return false
			}
			got.dead = append(got.dead, write{bucket: bucketAnswers, key: bytes.Clone(k)})
			bad = visit(k, v)
			return bad == nil
		}, func(h *boltpage.Hole) bool {
			bad = h
			return false
		})
		return bad
	}
	err = values.OldAnswers(each, func(key []byte, b values.Block) error {
		w := write{bucket: bucketNumbers, key: key, block: b}
		old, err := r.Get(string(bucketNumbers), key)
		if err == nil && old != nil {
			newer, _, bad := values.DecodeBlock(key, old)
			maps.Copy(b, newer)
			err = bad
		}
		w.value = values.EncodeBlock(key, b)
		got.put = append(got.put, w)
		return err
	})
	return got, err
}

// aged is the entry of what stands under a key.
func aged(kind byte, at int64, key []byte) write {
	k := boltfile.AgeKey(kind, at, key)
	return write{bucket: bucketAging, key: k, value: values.Seal(k, nil)}
}

func (s *Store) agedWaybills(r *boltpage.Finder, before int64, from []byte) (got swept, err error) {
	got.next, err = boltfile.Older(r, boltfile.AgeOfWaybill, before, from, sweepKeys, func(entry, key []byte) error {
		got.dead = append(got.dead, write{bucket: bucketAging, key: entry})
		st, inTail, err := s.peek(r, scan.WaybillID(key))
		if st == nil || err != nil {
			return err
		}
		mother, _, err := s.peek(r, st.Mother)
		if err != nil {
			return err
		}
		if last := max(st.LastSign(), mother.LastSign()); inTail || last >= before {
			got.put = append(got.put, aged(boltfile.AgeOfWaybill, max(last, before), key))
			return nil
		}
		got.dead = append(got.dead, write{bucket: bucketWaybills, key: key})
		got.waybills++
		return nil
	})
	return got, err
}

// peek reads as much of a waybill as its age asks for, for which no key is needed.
func (s *Store) peek(r *boltpage.Finder, id scan.WaybillID) (st *judge.State, inTail bool, err error) {
	if st, inTail = lookIn(&s.tail, s.tail.Waybills, id); !inTail && id != "" {
		st, _, err = get(r, bucketWaybills, []byte(id), values.PeekState)
	}
	return st, inTail, err
}

func (s *Store) agedBindings(r *boltpage.Finder, before int64, from []byte) (got swept, err error) {
	got.next, err = boltfile.Older(r, boltfile.AgeOfBinding, before, from, sweepKeys, func(entry, key []byte) error {
		got.dead = append(got.dead, write{bucket: bucketAging, key: entry})
		v, err := r.Get(string(bucketBindings), key)
		if v == nil || err != nil {
			return err
		}
		b, err := values.DecodeBinding(key, v)
		switch {
		case err != nil:
			return err
		case b.At >= before:
			got.put = append(got.put, aged(boltfile.AgeOfBinding, b.At, key))
		default:
			got.dead = append(got.dead, write{bucket: bucketBindings, key: key})
			got.bindings++
		}
		return nil
	})
	return got, err
}

// agedAnswers needs no index: a depot's answers of one epoch came in the order of
// their numbers, so a young block ends their run.
func (s *Store) agedAnswers(r *boltpage.Finder, before int64, from []byte) (got swept, err error) {
	keys, more := 0, true
	for runs := 0; more && err == nil && runs < sweepRuns && keys < sweepKeys; runs++ {
		more = false
		r.Scan(string(bucketNumbers), from, func(k, v []byte) bool {
			if keys++; keys > sweepKeys {
				from, more = bytes.Clone(k), true
				return false
			}
			var block values.Block
			var newest int64
			if block, newest, err = values.DecodeBlock(k, v); err != nil {
				return false
			}
			if newest >= before {
				from, more = behindRun(k), true
				return false
			}
			got.dead = append(got.dead, write{bucket: bucketNumbers, key: bytes.Clone(k)})
			got.answers += len(block)
			return true
		}, func(h *boltpage.Hole) bool {
			err = h
			return false
		})
	}
	if more {
		got.next = from
	}
	return got, err
}

// agedAside finds what was kept of waybills that began anew and are forgotten now.
func (s *Store) agedAside(r *boltpage.Finder, _ int64, from []byte) (got swept, err error) {
	keys := 0
	r.Scan(string(bucketDamaged), from, func(k, _ []byte) bool {
		if keys++; keys > sweepKeys {
			got.next = bytes.Clone(k)
			return false
		}
		id := asideOf(k)
		if id == "" {
			return true
		}
		var st *judge.State
		if st, _, err = s.peek(r, id); err == nil && st == nil {
			got.dead = append(got.dead, write{bucket: bucketDamaged, key: bytes.Clone(k)})
		}
		return err == nil
	}, func(h *boltpage.Hole) bool {
		err = h
		return false
	})
	return got, err
}

// behindRun is what follows all answers of one depot's epoch.
func behindRun(key []byte) []byte {
	next := bytes.Clone(key[:len(key)-8])
	return append(next, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
}

// index makes entries for what a file of commit 7b28d06, or one made anew, holds.
func index(r *boltpage.Finder, from []byte) (got swept, err error) {
	bucket, kind := bucketWaybills, byte(boltfile.AgeOfWaybill)
	if len(from) > 0 {
		kind, from = from[0], from[1:]
	}
	if kind == boltfile.AgeOfBinding {
		bucket = bucketBindings
	}
	i := 0
	r.Scan(string(bucket), from, func(k, v []byte) bool {
		if i++; i > sweepKeys {
			got.next = append([]byte{kind}, k...)
			return false
		}
		var at int64
		if kind == boltfile.AgeOfBinding {
			var b judge.Binding
			b, err = values.DecodeBinding(k, v)
			at = b.At
		} else {
			at, err = values.ChangedOf(k, v)
		}
		if err == nil {
			got.put = append(got.put, aged(kind, at, bytes.Clone(k)))
		}
		return err == nil
	}, func(h *boltpage.Hole) bool {
		err = h
		return false
	})
	if got.next == nil && kind == boltfile.AgeOfWaybill {
		got.next = []byte{boltfile.AgeOfBinding}
	}
	return got, err
}
