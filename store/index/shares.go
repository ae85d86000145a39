package index

import (
	"cmp"
	"slices"

	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// shares is how much of what is pending came from whom, in bytes, about, so that
// none of them takes all the room. What was stored before base is not known.
type shares struct {
	base    uint64
	clients map[uint16]int64
	hosts   map[uint16]int64
}

// ownBits of scan.Batch's Client are its own, the others its host's.
const ownBits = 6

// sizeUnit is the least size of an event that is told apart.
const sizeUnit = 512

func sizeOf(bytes int) uint8 { return uint8(min((bytes+sizeUnit-1)/sizeUnit, 1<<8-1)) }

// charge adds so many bytes to a client's, and to its host's.
func (s *shares) charge(seq uint64, c uint16, bytes int64) {
	if seq < s.base || c == 0 {
		return
	}
	if s.clients[c] += bytes; s.clients[c] <= 0 {
		delete(s.clients, c)
	}
	if s.hosts[c>>ownBits] += bytes; s.hosts[c>>ownBits] <= 0 {
		delete(s.hosts, c>>ownBits)
	}
}

// Used returns how much of what is pending came from a client, and from its host.
func (x *Index) Used(c uint16) (own, host int64) {
	x.locked(func(m *memory) { own, host = m.shares.clients[c], m.shares.hosts[c>>ownBits] })
	return own, host
}

// Level returns how much each client may have, so that all of them together have less
// by a part: who has no more than that loses nothing.
func (x *Index) Level(part float64) int64 {
	var used []int64
	all := int64(0)
	x.locked(func(m *memory) {
		for _, n := range m.shares.clients {
			used = append(used, n)
			all += n
		}
	})
	return waterLevel(used, int64(part*float64(all)))
}

// waterLevel finds the level to which the highest have to come down.
func waterLevel(used []int64, less int64) int64 {
	slices.SortFunc(used, func(a, b int64) int { return cmp.Compare(b, a) })
	for i, n := range used {
		next := int64(0)
		if i+1 < len(used) {
			next = used[i+1]
		}
		if drop := (n - next) * int64(i+1); drop >= less {
			return n - less/int64(i+1)
		} else {
			less -= drop
		}
	}
	return 0
}

// Recall takes a stored event into account at a start, after the base was set.
func (x *Index) Recall(seq uint64, c uint16, bytes int) {
	x.locked(func(m *memory) {
		if m.all.has(setPending, seq) {
			m.shares.charge(seq, c, int64(sizeOf(bytes))*sizeUnit)
		}
	})
}

// Senders says who sent those of the events of which only the disk knows it, for End to
// give back what they took of their senders' shares. Of what cannot be read it says
// nothing: that comes back with the next start.
func (x *Index) Senders(ending []event.Settlement) (sent []event.Sent) {
	var seqs []uint64
	x.locked(func(m *memory) {
		for i := range ending {
			if seq := ending[i].Seq; seq >= m.shares.base && m.shelves(seq) {
				seqs = append(seqs, seq)
			}
		}
	})
	if len(seqs) > 0 {
		_, _ = x.disk.Heads(seqs, func(seq uint64, h *codec.Head) error {
			sent = append(sent, event.Sent{Seq: seq, Client: h.Client, Size: h.Size})
			return nil
		})
	}
	return sent
}

// shelves reports whether an event is pending, and on disk only.
func (m *memory) shelves(seq uint64) bool {
	return m.all.has(setPending, seq) && !m.all.has(setHeld, seq)
}

// Waits counts what waits for waybill data, and all that is pending.
func (x *Index) Waits() (waiting, pending int) {
	c := x.Counts()
	return c.Waiting, c.Pending
}

// RecallFrom says that nothing is known of what was stored before.
func (x *Index) RecallFrom(base uint64) { x.locked(func(m *memory) { m.shares.base = base }) }
