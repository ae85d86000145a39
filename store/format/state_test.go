package format

import (
	"slices"
	"strings"
	"testing"

	"scanrelay/store/codec"
)

func FuzzDecodeState(f *testing.F) {
	s := State{NextSeq: 5, epochs: []epochSpan{{1, 2}}, boots: []bootClock{{boot: "b", upTo: 4, how: zeroForAll}}}
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
	s.Prune(func() uint64 { return 12 })
	if len(s.epochs) != 2 || s.EpochOf(12) != 200 {
		t.Errorf("pruned to %v", s.epochs)
	}
}

// What was written before there was a line for each file is told by file: what is
// newer of one takes the place of that alone.
func TestDamageIsToldByFile(t *testing.T) {
	want := []string{
		"segment 1 was damaged: 9 events read, 1 lost: 4; kept as segment-00000001.db.damaged",
		"the quarantine was damaged; kept as quarantine.db.damaged",
		"segment-00000003.db holds events that cannot be read; a restart mends what can be mended",
		"segment 2 was damaged: nothing of it could be read; kept as segment-00000002.db.damaged",
	}
	for _, between := range []string{"; ", "\n"} {
		e := codec.NewEncoder(64)
		e.Text(strings.Join(want, between))
		var s State
		s.readDamage(codec.NewDecoder(e.Begun()[1:]))
		if !slices.Equal(s.Damage, want) {
			t.Errorf("with %q between: %q", between, s.Damage)
		}
	}
}
