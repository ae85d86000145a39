package store

import (
	"testing"

	"scanrelay/store/codec"
)

func FuzzDecodeState(f *testing.F) {
	s := state{nextSeq: 5, epochs: []epochSpan{{1, 2}}, boots: []bootClock{{boot: "b", upTo: 4, fixed: true}}}
	f.Add(s.encodeBase().Begun(), s.encodeEpochs().Begun(), s.encodeBoots().Begun())
	f.Fuzz(func(_ *testing.T, base, epochs, boots []byte) {
		var s state
		for read, b := range map[*[]byte]func(*codec.Decoder){&base: s.decodeBase, &epochs: s.decodeEpochs, &boots: s.decodeBoots} {
			b(codec.NewDecoder(*read))
		}
		s.decodeHead(codec.NewDecoder(base))
	})
}

func TestEpochOf(t *testing.T) {
	var s state
	s.relabel(1, 100)
	s.relabel(10, 200)
	s.relabel(20, 300)
	s.relabel(15, 400) // takes the place of what was above
	for seq, want := range map[uint64]uint64{1: 100, 9: 100, 10: 200, 14: 200, 15: 400, 99: 400} {
		if got := s.epochOf(seq); got != want {
			t.Errorf("epoch of %d is %d, want %d", seq, got, want)
		}
	}
	s.prune(12)
	if len(s.epochs) != 2 || s.epochOf(12) != 200 {
		t.Errorf("pruned to %v", s.epochs)
	}
}
