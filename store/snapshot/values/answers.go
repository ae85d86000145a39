package values

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// blockNumbers is how many numbers a block has. A depot's numbers of one epoch come
// in order, so few blocks are touched, and forgetting deletes them together.
const blockNumbers = 128

// Block is what became of some of a run of numbers, by their place in it.
type Block map[byte]judge.Kept

// BlockKey is the key of the block that a number is in, and its place there: a
// depot's blocks of one epoch lie together in order.
func BlockKey(n judge.Number) (key []byte, place byte) {
	return binary.BigEndian.AppendUint64(EpochKey(n.Depot, n.Epoch), n.Seq/blockNumbers), byte(n.Seq % blockNumbers)
}

const (
	placeSize = 1 + 1 + 8 // place, result, identity
	blockHead = 4         // unix seconds of the newest
)

// EncodeBlock puts a block under a key. Of its answers' times the newest is kept.
func EncodeBlock(key []byte, b Block) []byte {
	out := make([]byte, blockHead, blockHead+placeSize*len(b)+4)
	newest := int64(0)
	for _, place := range slices.Sorted(maps.Keys(b)) {
		k := b[place]
		newest = max(newest, k.At)
		out = binary.BigEndian.AppendUint64(append(out, place, byte(k.Result)), k.Ident)
	}
	binary.BigEndian.PutUint32(out, uint32(newest))
	return Seal(key, out)
}

// DecodeBlock returns a block and the time of its newest answer.
func DecodeBlock(key, v []byte) (b Block, newest int64, err error) {
	body, err := Unseal(key, v)
	if err != nil || len(body) < blockHead || (len(body)-blockHead)%placeSize != 0 {
		return nil, 0, ErrDamaged
	}
	newest = int64(binary.BigEndian.Uint32(body))
	b = make(Block, (len(body)-blockHead)/placeSize)
	for e := range slices.Chunk(body[blockHead:], placeSize) {
		b[e[0]] = judge.Kept{Result: snapshot.Result(e[1]), Ident: binary.BigEndian.Uint64(e[2:]), At: newest}
	}
	return b, newest, nil
}

const answerSize = 8 + 1 + 4 // identity, result, when; without the sum

// OldKey is the key of a number in formats before 3, which have a value for each.
func OldKey(n judge.Number) []byte {
	return binary.BigEndian.AppendUint64(EpochKey(n.Depot, n.Epoch), n.Seq)
}

// DecodeOldAnswer returns what formats before 3 have under a key of OldKey.
func DecodeOldAnswer(key, v []byte) (k judge.Kept, err error) {
	depot, _, ok := ParseEpochKey(key)
	body, err := unsealSmall(key, v, answerSize)
	if !ok || err != nil || len(key) != len(depot)+17 {
		return k, ErrDamaged
	}
	return judge.Kept{
		Ident: binary.BigEndian.Uint64(body), Result: snapshot.Result(body[8]), At: int64(binary.BigEndian.Uint32(body[9:])),
	}, nil
}

// OldAnswers gives the blocks of the values that formats before 3 have, which come
// in the order of their keys.
func OldAnswers(each func(visit func(key, value []byte) error) error, block func(key []byte, b Block) error) error {
	var key []byte
	b := Block{}
	flush := func() error {
		if len(b) == 0 {
			return nil
		}
		defer clear(b)
		return block(key, b)
	}
	err := each(func(k, v []byte) error {
		kept, err := DecodeOldAnswer(k, v)
		if err != nil {
			return nil // its event is still in the path
		}
		depot, epoch, _ := ParseEpochKey(k)
		next, place := BlockKey(judge.Number{Depot: depot, Epoch: epoch, Seq: binary.BigEndian.Uint64(k[len(k)-8:])})
		if !bytes.Equal(next, key) {
			if err := flush(); err != nil {
				return err
			}
			key = next
		}
		b[place] = kept
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}
