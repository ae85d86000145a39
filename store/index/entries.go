package index

// entry is one pending event.
type entry struct {
	waybill  uint64 // keyed hash of the waybill number
	action   int64  // action_time
	received uint32 // unix seconds
	// The neighbours in the waybill's chain, as distances; 0: none. A store
	// never holds 2³² numbers at a time.
	prev, next uint32
	client     uint16
	size       uint8 // of its record, in units of sizeUnit
	clockless  bool  // its times are provisional
}

// bytes is how large its record is, about.
func (e *entry) bytes() int64 { return int64(e.size) * sizeUnit }

// entries are those of the events that are in memory, 32 bytes each, in chunks
// of which those without an entry are left out.
type entries map[uint64]*chunk

const chunkLen = 16

// chunk holds chunkLen numbers in a row; bit i of used stands for slots[i].
type chunk struct {
	used  uint16
	slots [chunkLen]entry
}

// get returns the entry of a number, nil if it is not in memory. The pointer is
// good until the entry is deleted.
func (e entries) get(seq uint64) *entry {
	if c := e[seq/chunkLen]; c != nil && c.used&(1<<(seq%chunkLen)) != 0 {
		return &c.slots[seq%chunkLen]
	}
	return nil
}

func (e entries) put(seq uint64, one entry) {
	c := e[seq/chunkLen]
	if c == nil {
		c = &chunk{}
		e[seq/chunkLen] = c
	}
	c.used |= 1 << (seq % chunkLen)
	c.slots[seq%chunkLen] = one
}

func (e entries) del(seq uint64) {
	if c := e[seq/chunkLen]; c != nil {
		if c.used &^= 1 << (seq % chunkLen); c.used == 0 {
			delete(e, seq/chunkLen)
		}
	}
}
