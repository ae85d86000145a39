package index

import (
	"cmp"
	"math/bits"
	"slices"
)

// table holds the entries of the events that are in memory, 32 bytes each, and
// for each one bit: whether a lease may start with its waybill (see index). It
// is a row of blocks of chunks in which empty ones are left out; finding the
// first or last set bit looks at masks.
type table struct {
	blocks []*block // rising
}

const (
	chunkLen = 16
	blockLen = 64 * chunkLen
)

// block covers blockLen numbers from number*blockLen on; bit i of a mask stands
// for chunks[i].
type block struct {
	number      uint64
	used, ready uint64
	chunks      [64]*chunk
}

// chunk covers chunkLen numbers; bit i of a mask stands for slots[i].
type chunk struct {
	used, ready uint16
	slots       [chunkLen]entry
}

// entry is one pending event.
type entry struct {
	waybill  uint64 // keyed hash of the waybill number
	action   int64  // action_time
	received uint32 // unix seconds
	// The neighbours in the waybill's chain, as distances; 0: none. A store
	// never holds 2³² numbers at a time.
	prev, next uint32
	flags      uint8
}

// Flags of an entry.
const (
	entryTried     = 1 << iota // memory.attempts knows more about it
	entryClockless             // its times are provisional
)

func split(seq uint64) (number uint64, chunk, slot int) {
	return seq / blockLen, int(seq / chunkLen % 64), int(seq % chunkLen)
}

// at returns where a block is, or would be.
func (t *table) at(number uint64) (i int, found bool) {
	if n := len(t.blocks); n > 0 && t.blocks[n-1].number == number {
		return n - 1, true
	}
	return slices.BinarySearchFunc(t.blocks, number, func(b *block, number uint64) int {
		return cmp.Compare(b.number, number)
	})
}

// get returns the entry of a number, nil if it is not in memory. The pointer is
// good until the entry is deleted.
func (t *table) get(seq uint64) *entry {
	b, c, slot := split(seq)
	i, found := t.at(b)
	if !found {
		return nil
	}
	ch := t.blocks[i].chunks[c]
	if ch == nil || ch.used&(1<<slot) == 0 {
		return nil
	}
	return &ch.slots[slot]
}

// put adds an entry.
func (t *table) put(seq uint64, e entry) {
	b, c, slot := split(seq)
	i, found := t.at(b)
	if !found {
		t.blocks = slices.Insert(t.blocks, i, &block{number: b})
	}
	blk := t.blocks[i]
	ch := blk.chunks[c]
	if ch == nil {
		ch = &chunk{}
		blk.chunks[c] = ch
		blk.used |= 1 << c
	}
	ch.used |= 1 << slot
	ch.slots[slot] = e
}

// del removes an entry and its bit.
func (t *table) del(seq uint64) {
	b, c, slot := split(seq)
	if t.get(seq) == nil {
		return
	}
	t.setReady(seq, false)
	i, _ := t.at(b)
	blk := t.blocks[i]
	ch := blk.chunks[c]
	if ch.used &^= 1 << slot; ch.used != 0 {
		return
	}
	blk.chunks[c] = nil
	if blk.used &^= 1 << c; blk.used == 0 {
		t.blocks = slices.Delete(t.blocks, i, i+1)
	}
}

// setReady sets or clears the bit of a number that is in memory.
func (t *table) setReady(seq uint64, on bool) {
	b, c, slot := split(seq)
	i, _ := t.at(b)
	blk := t.blocks[i]
	ch := blk.chunks[c]
	if on {
		ch.ready |= 1 << slot
	} else {
		ch.ready &^= 1 << slot
	}
	if ch.ready != 0 {
		blk.ready |= 1 << c
	} else {
		blk.ready &^= 1 << c
	}
}

// firstReady and lastReady return the lowest and highest number whose bit is
// set.
func (t *table) firstReady() (uint64, bool) {
	for _, blk := range t.blocks {
		if blk.ready != 0 {
			c := bits.TrailingZeros64(blk.ready)
			return blk.seq(c, bits.TrailingZeros16(blk.chunks[c].ready)), true
		}
	}
	return 0, false
}

func (t *table) lastReady() (uint64, bool) {
	for _, blk := range slices.Backward(t.blocks) {
		if blk.ready != 0 {
			c := 63 - bits.LeadingZeros64(blk.ready)
			return blk.seq(c, 15-bits.LeadingZeros16(blk.chunks[c].ready)), true
		}
	}
	return 0, false
}

func (b *block) seq(c, slot int) uint64 { return b.number*blockLen + uint64(c*chunkLen+slot) }
