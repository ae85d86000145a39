package format

import (
	"testing"

	"scanrelay/store/codec"
)

func FuzzDecodeState(f *testing.F) {
	s := State{NextSeq: 5, epochs: []epochSpan{{1, 2}}, boots: []bootClock{{boot: "b", upTo: 4, fixed: true}}}
	body := func(write func(*codec.Encoder)) []byte {
		e := codec.NewEncoder(64)
		write(e)
		return e.Begun()[1:]
	}
	f.Add(body(s.writeBase), body(s.writeEpochs), body(s.writeBoots))
	f.Fuzz(func(_ *testing.T, base, epochs, boots []byte) {
		var s State
		for read, b := range map[*[]byte]func(*codec.Decoder){&base: s.readBase, &epochs: s.readEpochs, &boots: s.readBoots} {
			b(codec.NewDecoder(*read))
		}
		s.readHead(codec.NewDecoder(base))
	})
}

func TestEpochOf(t *testing.T) {
	var s State
	s.Relabel(1, 100)
	s.Relabel(10, 200)
	s.Relabel(20, 300)
	s.Relabel(15, 400) // takes the place of what was above
	for seq, want := range map[uint64]uint64{1: 100, 9: 100, 10: 200, 14: 200, 15: 400, 99: 400} {
		if got := s.EpochOf(seq); got != want {
			t.Errorf("epoch of %d is %d, want %d", seq, got, want)
		}
	}
	s.Prune(12)
	if len(s.epochs) != 2 || s.EpochOf(12) != 200 {
		t.Errorf("pruned to %v", s.epochs)
	}
}
