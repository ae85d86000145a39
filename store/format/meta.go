package format

import (
	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
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

// LoadMeta reads the head of an open segment. ErrDamaged: it has none.
func LoadMeta(tx *bolt.Tx) (codec.FileMeta, error) {
	return codec.DecodeFileMeta(boltpage.Value(tx, BucketMeta, codec.MetaKey))
}
