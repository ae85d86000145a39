package repair

import (
	"errors"
	"fmt"
	"slices"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/format"
)

// outline is what the pages of a segment say about how it is built.
type outline struct {
	next  map[string]uint64 // number that is due next in a bucket
	state map[string]bool   // keys of the state

	problem boltpage.Problem
}

// CheckOutline looks at every page that bbolt reads when it opens a segment for
// writing, and says what is wrong first: damage, or that the file cannot be
// read. It finds whatever bbolt would die of, and what is missing though all that
// is left makes sense. It opens no record: their damage is found when they are
// read. first is the segment's first number, next the one that its state says is
// next.
func CheckOutline(path string, first, next uint64) error {
	return boltpage.Check(path, func(p *boltpage.File, problem boltpage.Problem) {
		l := &outline{state: map[string]bool{}, problem: problem}
		l.next = map[string]uint64{string(format.BucketEvents): first, string(format.BucketNotes): 1}
		p.Walk(l.visit, problem)
		for _, name := range format.Buckets {
			if !p.Buckets[string(name)] {
				problem(string(name), "the bucket is missing")
			}
		}
		for _, key := range format.StateKeys {
			if !l.state[key] {
				problem(string(format.BucketState), key+" is missing")
			}
		}
		if due := l.next[string(format.BucketEvents)]; due != next {
			problem(string(format.BucketEvents), fmt.Sprintf("they end before %d, not before %d", due, next))
		}
	})
}

// visit holds the numbers of events and notes to have no holes: a note that is
// gone is an event that is pushed again.
func (l *outline) visit(bucket string, key, value []byte) {
	switch {
	case bucket == string(format.BucketState):
		l.state[string(key)] = true
	case bucket == string(format.BucketMeta) || !slices.ContainsFunc(format.Buckets, func(b []byte) bool { return string(b) == bucket }):
	case len(key) != 8:
		l.problem(bucket, "a number is cut off")
	case bucket == string(format.BucketCarried):
		if _, err := codec.Unframe(key, value); len(value) > 0 && errors.Is(err, durable.ErrDamaged) {
			l.problem(bucket, fmt.Sprintf("%d: %v", codec.Seq(key), err))
		}
	default:
		if seq := codec.Seq(key); seq != l.next[bucket] {
			l.problem(bucket, fmt.Sprintf("%d follows where %d is due", seq, l.next[bucket]))
		}
		l.next[bucket] = codec.Seq(key) + 1
	}
}
