package store

import (
	"errors"
	"fmt"
	"slices"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
)

// outline is what the pages of a file say about how it is built. It reads every
// page that bbolt reads when it opens a file for writing, and finds whatever
// bbolt would die of, and what is missing though all that is left makes sense.
// It opens no record: their damage is found when they are read.
type outline struct {
	next  map[string]uint64 // number that is due next in a bucket
	state map[string]bool   // keys of the state
	bad   error             // what was wrong first
}

// What every segment has from its beginning.
var (
	segmentBuckets = [][]byte{codec.MetaBucket, bucketState, bucketEvents, bucketNotes, bucketCarried}
	segmentState   = [][]byte{keyHead, keyBase, keyEpochs}
)

// checkOutline says what is wrong with how a segment is built: damage, or that
// the file cannot be read. nextSeq is the number that its state says is next.
func (s *segment) checkOutline(nextSeq uint64) error {
	l := &outline{state: map[string]bool{}}
	l.next = map[string]uint64{string(bucketEvents): s.first, string(bucketNotes): 1}
	p, err := boltpage.Open(s.path)
	if err != nil {
		return err
	}
	p.Walk(l.visit, l.problem)
	if err := p.Close(); err != nil {
		return err
	}
	for _, name := range segmentBuckets {
		if !p.Buckets[string(name)] {
			l.problem(string(name), "the bucket is missing")
		}
	}
	for _, key := range segmentState {
		if !l.state[string(key)] {
			l.problem(string(bucketState), string(key)+" is missing")
		}
	}
	if next := l.next[string(bucketEvents)]; next != nextSeq {
		l.problem(string(bucketEvents), fmt.Sprintf("they end before %d, not before %d", next, nextSeq))
	}
	return l.bad
}

func (l *outline) problem(bucket, what string) {
	if l.bad == nil {
		l.bad = boltpage.DamageIn(bucket, what)
	}
}

// visit holds the numbers of events and notes to have no holes: a note that is
// gone is an event that is pushed again.
func (l *outline) visit(bucket string, key, value []byte) {
	switch {
	case bucket == string(bucketState):
		l.state[string(key)] = true
	case bucket == string(codec.MetaBucket) || !slices.ContainsFunc(segmentBuckets, func(b []byte) bool { return string(b) == bucket }):
	case len(key) != 8:
		l.problem(bucket, "a number is cut off")
	case bucket == string(bucketCarried):
		if _, err := codec.Unframe(key, value); errors.Is(err, ErrDamaged) {
			l.problem(bucket, fmt.Sprintf("%d: %v", codec.Seq(key), err))
		}
	default:
		if seq := codec.Seq(key); seq != l.next[bucket] {
			l.problem(bucket, fmt.Sprintf("%d follows where %d is due", seq, l.next[bucket]))
		}
		l.next[bucket] = codec.Seq(key) + 1
	}
}
