package store

import "math/bits"

// table holds the pending events by number, in 32 bytes each, and for each
// one bit: whether a lease may start with its waybill (see index). Numbers are
// dense where much is pending, so it is an array of blocks of chunks in which
// empty ones are left out; finding the first or last set bit looks at masks.
type table struct {
	first  uint64 // number of blocks[0]
	blocks []*block
	n      int
}

const (
	chunkLen = 16
	blockLen = 64 * chunkLen
)

// block covers blockLen numbers; bit i of a mask stands for chunks[i].
type block struct {
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
	entryNoted     = 1 << iota // index.notes knows more about it
	entryClockless             // its times are provisional
)

func split(seq uint64) (block uint64, chunk, slot int) {
	return seq / blockLen, int(seq / chunkLen % 64), int(seq % chunkLen)
}

func (t *table) chunk(seq uint64) *chunk {
	b, c, _ := split(seq)
	if b < t.first || b-t.first >= uint64(len(t.blocks)) || t.blocks[b-t.first] == nil {
		return nil
	}
	return t.blocks[b-t.first].chunks[c]
}

// get returns the entry of a number, nil if it is not pending. The pointer is
// good until the entry is deleted.
func (t *table) get(seq uint64) *entry {
	c := t.chunk(seq)
	slot := seq % chunkLen
	if c == nil || c.used&(1<<slot) == 0 {
		return nil
	}
	return &c.slots[slot]
}

// put adds an entry and returns where it stands.
func (t *table) put(seq uint64, e entry) *entry {
	b, c, slot := split(seq)
	blk := t.blockFor(b)
	ch := blk.chunks[c]
	if ch == nil {
		ch = &chunk{}
		blk.chunks[c] = ch
		blk.used |= 1 << c
	}
	if ch.used&(1<<slot) == 0 {
		ch.used |= 1 << slot
		t.n++
	}
	ch.slots[slot] = e
	return &ch.slots[slot]
}

func (t *table) blockFor(b uint64) *block {
	switch {
	case len(t.blocks) == 0:
		t.first = b
	case b < t.first:
		grown := make([]*block, t.first-b, t.first-b+uint64(len(t.blocks)))
		t.blocks = append(grown, t.blocks...)
		t.first = b
	}
	for b-t.first >= uint64(len(t.blocks)) {
		t.blocks = append(t.blocks, nil)
	}
	if t.blocks[b-t.first] == nil {
		t.blocks[b-t.first] = &block{}
	}
	return t.blocks[b-t.first]
}

// del removes an entry and its bit.
func (t *table) del(seq uint64) {
	b, c, slot := split(seq)
	if t.get(seq) == nil {
		return
	}
	t.setReady(seq, false)
	blk := t.blocks[b-t.first]
	ch := blk.chunks[c]
	ch.used &^= 1 << slot
	t.n--
	if ch.used == 0 {
		blk.chunks[c] = nil
		blk.used &^= 1 << c
	}
	if blk.used == 0 {
		t.blocks[b-t.first] = nil
		t.trim()
	}
}

// trim drops empty blocks at both ends.
func (t *table) trim() {
	for len(t.blocks) > 0 && t.blocks[0] == nil {
		t.blocks = t.blocks[1:]
		t.first++
	}
	for n := len(t.blocks); n > 0 && t.blocks[n-1] == nil; n-- {
		t.blocks = t.blocks[:n-1]
	}
}

// next returns the first pending number at or above seq.
func (t *table) next(seq uint64) (uint64, bool) {
	b, c, slot := split(max(seq, t.first*blockLen))
	if len(t.blocks) == 0 {
		return 0, false
	}
	for ; b-t.first < uint64(len(t.blocks)); b, c, slot = b+1, 0, 0 {
		blk := t.blocks[b-t.first]
		if blk == nil {
			continue
		}
		for used := blk.used >> c << c; used != 0; used &= used - 1 {
			i := bits.TrailingZeros64(used)
			mask := blk.chunks[i].used
			if i == c {
				mask = mask >> slot << slot
			}
			if mask != 0 {
				return b*blockLen + uint64(i*chunkLen+bits.TrailingZeros16(mask)), true
			}
		}
	}
	return 0, false
}

// setReady sets or clears the bit of a pending number.
func (t *table) setReady(seq uint64, on bool) {
	b, c, slot := split(seq)
	blk := t.blocks[b-t.first]
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
	for i, blk := range t.blocks {
		if blk != nil && blk.ready != 0 {
			c := bits.TrailingZeros64(blk.ready)
			return t.number(i, c, bits.TrailingZeros16(blk.chunks[c].ready)), true
		}
	}
	return 0, false
}

func (t *table) lastReady() (uint64, bool) {
	for i := len(t.blocks) - 1; i >= 0; i-- {
		if blk := t.blocks[i]; blk != nil && blk.ready != 0 {
			c := 63 - bits.LeadingZeros64(blk.ready)
			return t.number(i, c, 15-bits.LeadingZeros16(blk.chunks[c].ready)), true
		}
	}
	return 0, false
}

func (t *table) number(i, c, slot int) uint64 {
	return (t.first+uint64(i))*blockLen + uint64(c*chunkLen+slot)
}
