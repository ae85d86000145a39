package index

// link puts an event into its waybill's chain: nearly always at the end, but a
// dead letter that is put back, and what is brought in from disk, goes to its
// place. near is one before it in the chain, where it is looked for from; 0: from
// the end.
func (m *memory) link(w *waybill, seq uint64, e entry, near uint64) {
	before, after := w.tail(), uint64(0)
	if near != 0 {
		before, after = near, m.nextOf(near)
	}
	for before > seq {
		before, after = m.prevOf(before), before
	}
	for after != 0 && after < seq {
		before, after = after, m.nextOf(after)
	}
	m.put(seq, e)
	m.join(w, before, seq)
	m.join(w, seq, after)
}

// unlink takes an event out of its waybill's chain and of the entries.
func (m *memory) unlink(w *waybill, seq uint64) {
	m.join(w, m.prevOf(seq), m.nextOf(seq))
	m.del(seq)
}

// join makes neighbours of two events; where one is none, 0, the other is the
// chain's first or last.
func (m *memory) join(w *waybill, before, after uint64) {
	head, tail := w.head, w.tail()
	if before == 0 {
		head = after
	} else {
		m.get(before).next = distance(before, after)
	}
	if after == 0 {
		tail = before
	} else {
		m.get(after).prev = distance(before, after)
	}
	w.head, w.span = head, uint32(tail-head)
}

// distance between two neighbours; 0 if one of them is none.
func distance(a, b uint64) uint32 {
	if a == 0 || b == 0 {
		return 0
	}
	return uint32(b - a)
}

func (m *memory) prevOf(seq uint64) uint64 {
	if d := m.get(seq).prev; d != 0 {
		return seq - uint64(d)
	}
	return 0
}

func (m *memory) nextOf(seq uint64) uint64 {
	if d := m.get(seq).next; d != 0 {
		return seq + uint64(d)
	}
	return 0
}

// chain lists the held events of a waybill up to a number.
func (m *memory) chain(h, upTo uint64) (seqs []uint64) {
	w := m.waybills[h]
	for seq := w.head; seq != 0 && seq <= upTo; seq = m.nextOf(seq) {
		seqs = append(seqs, seq)
	}
	return seqs
}
