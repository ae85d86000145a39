package store

// link puts an event into its waybill's chain: nearly always at the end, but a
// dead letter that is put back, and what is brought in from disk, goes to its
// place. near is one before it in the chain, where it is looked for from; 0: from
// the end.
func (x *index) link(w *waybill, seq uint64, e entry, near uint64) {
	before, after := w.tail(), uint64(0)
	if near != 0 {
		before, after = near, x.nextOf(near)
	}
	for before > seq {
		before, after = x.prevOf(before), before
	}
	for after != 0 && after < seq {
		before, after = after, x.nextOf(after)
	}
	x.put(seq, e)
	x.join(w, before, seq)
	x.join(w, seq, after)
}

// unlink takes an event out of its waybill's chain and of the table.
func (x *index) unlink(w *waybill, seq uint64) {
	x.join(w, x.prevOf(seq), x.nextOf(seq))
	x.del(seq)
}

// join makes neighbours of two events; where one is none, 0, the other is the
// chain's first or last.
func (x *index) join(w *waybill, before, after uint64) {
	head, tail := w.head, w.tail()
	if before == 0 {
		head = after
	} else {
		x.get(before).next = distance(before, after)
	}
	if after == 0 {
		tail = before
	} else {
		x.get(after).prev = distance(before, after)
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

func (x *index) prevOf(seq uint64) uint64 {
	if d := x.get(seq).prev; d != 0 {
		return seq - uint64(d)
	}
	return 0
}

func (x *index) nextOf(seq uint64) uint64 {
	if d := x.get(seq).next; d != 0 {
		return seq + uint64(d)
	}
	return 0
}

// chain lists the held events of a waybill up to a number.
func (x *index) chain(h, upTo uint64) (seqs []uint64) {
	w := x.waybills[h]
	for seq := w.head; seq != 0 && seq <= upTo; seq = x.nextOf(seq) {
		seqs = append(seqs, seq)
	}
	return seqs
}
