package format

import (
	"fmt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// The buckets of a segment.
var (
	BucketMeta    = codec.MetaBucket
	BucketState   = []byte("state")
	BucketEvents  = []byte("events")
	BucketNotes   = []byte("notes")
	BucketCarried = []byte("carried")
)

// Buckets are what every segment has from its beginning.
var Buckets = [][]byte{BucketMeta, BucketState, BucketEvents, BucketNotes, BucketCarried}

// LoadMeta reads the head of an open segment. ErrDamaged: it has none, or another
// one's.
func LoadMeta(r boltpage.Reader, number uint64) (codec.FileMeta, error) {
	m, err := codec.DecodeFileMeta(boltpage.Value(r, BucketMeta, codec.MetaKey))
	if err == nil && m.Number != number {
		err = fmt.Errorf("%w: it is segment %d", durable.ErrDamaged, m.Number)
	}
	return m, err
}

// Load reads a segment's state, and what it lacks; nil: nothing.
func Load(r boltpage.Reader) (st *State, lacks *Rebuilt, err error) {
	b := r.Bucket(BucketState)
	if st, err = LoadState(b); err == nil {
		lacks, err = loadRebuilt(b)
	}
	if err != nil {
		return nil, nil, err
	}
	// What is in memory is laid out by numbers: one of no sense would take all of it.
	if k, _ := r.Bucket(BucketEvents).Cursor().Last(); k != nil && codec.Seq(k) >= st.NextSeq {
		return nil, nil, fmt.Errorf("%w: event %d is beyond the last, %d", durable.ErrDamaged, codec.Seq(k), st.NextSeq-1)
	}
	return st, lacks, nil
}
