package later

import (
	"maps"
	"math"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// chunk is how many events are looked for at once.
const chunk = 500

// Journal is where events are.
type Journal interface {
	// Find lists the numbers of the waybills' events in a range, where holds says that
	// there is something; some may be of others.
	Find(ids []scan.WaybillID, from, to uint64, holds func(first, last uint64) bool) ([]uint64, error)
	Heads(seqs []uint64, fn func(seq uint64, h *codec.Head) error) (bad []uint64, err error)
	// Copied is what was stored after a carried event in segments that are gone.
	Copied(seq uint64) event.Later
}

// Of finds what was stored after each of some events.
func Of(j Journal, seqs []uint64) (map[uint64]event.Later, error) {
	later := make(map[uint64]event.Later, len(seqs))
	for part := range slices.Chunk(seqs, chunk) {
		waybills := make(map[uint64]scan.WaybillID, len(part))
		_, err := j.Heads(part, func(seq uint64, h *codec.Head) error {
			waybills[seq] = scan.WaybillID(h.Waybill)
			return nil
		})
		if err != nil {
			return nil, err
		}
		some, err := OfWaybills(j, waybills)
		if err != nil {
			return nil, err
		}
		maps.Copy(later, some)
	}
	return later, nil
}

// OfWaybills does so where it is known which waybill each is of.
func OfWaybills(j Journal, waybills map[uint64]scan.WaybillID) (map[uint64]event.Later, error) {
	later := make(map[uint64]event.Later, len(waybills))
	byWaybill := map[scan.WaybillID][]uint64{}
	from := uint64(math.MaxUint64)
	for seq, id := range waybills {
		byWaybill[id] = append(byWaybill[id], seq)
		later[seq] = event.Later{}
		from = min(from, seq)
	}
	anywhere := func(uint64, uint64) bool { return true }
	seqs, err := j.Find(slices.Collect(maps.Keys(byWaybill)), from, math.MaxUint64, anywhere)
	if err != nil {
		return nil, err
	}
	_, err = j.Heads(seqs, func(seq uint64, h *codec.Head) error {
		for _, early := range byWaybill[scan.WaybillID(h.Waybill)] {
			if t := later[early]; seq > early {
				t.Add(h.Time)
				later[early] = t
			}
		}
		return nil
	})
	for seq, t := range later { // last, so that it has what a segment held that was dropped meanwhile
		if copied := j.Copied(seq); copied.Known {
			t.Add(copied.Action)
			later[seq] = t
		}
	}
	return later, err
}
