package repair

import (
	"fmt"
	"slices"
	"strings"

	"scanrelay/store/codec"
	"scanrelay/store/format"
)

// Span is a run of numbers.
type Span struct{ From, To uint64 }

func (s Span) String() string {
	if s.From == s.To {
		return fmt.Sprint(s.From)
	}
	return fmt.Sprintf("%d-%d", s.From, s.To)
}

// account gives every event that is missing an empty place, and counts.
func (b *rebuilder) account() error {
	events := b.tx.Bucket(format.BucketEvents)
	c := events.Cursor()
	k, _ := c.First()
	if b.meta.First == 0 && k != nil {
		b.meta.First = codec.Seq(k)
	}
	if b.meta.First == 0 {
		b.meta.First = max(b.state.NextSeq, 1)
	}
	next := b.meta.First
	for ; k != nil; k, _ = c.Next() {
		b.miss(next, codec.Seq(k))
		next = codec.Seq(k) + 1
	}
	// Of a sealed segment the state is that of its end, of the newest too.
	end := b.s.Until
	if b.heads {
		end = max(end, b.state.NextSeq)
	}
	b.miss(next, end)
	next = max(next, end)
	b.state.NextSeq = max(b.state.NextSeq, next)
	for _, l := range b.lost {
		for seq := l.From; seq <= l.To; seq++ {
			if err := events.Put(codec.Key(seq), nil); err != nil {
				return err
			}
		}
	}
	if err := b.accountCarried(); err != nil {
		return err
	}
	if k, _ := b.tx.Bucket(format.BucketNotes).Cursor().Last(); k != nil {
		b.lostNotes = codec.Seq(k) - b.notes
	}
	return nil
}

// accountCarried does so for carried events: with each came a note.
func (b *rebuilder) accountCarried() error {
	carried := b.tx.Bucket(format.BucketCarried)
	slices.Sort(b.copied)
	for _, seq := range slices.Compact(b.copied) {
		if carried.Get(codec.Key(seq)) != nil {
			continue
		}
		b.miss(seq, seq+1)
		if err := carried.Put(codec.Key(seq), nil); err != nil {
			return err
		}
	}
	return nil
}

func (b *rebuilder) miss(from, to uint64) {
	if n := len(b.lost); n > 0 && from < to && b.lost[n-1].To+1 == from {
		b.lost[n-1].To = to - 1
	} else if from < to {
		b.lost = append(b.lost, Span{from, to - 1})
	}
}

// report names what was lost, for people.
func (b *rebuilder) report() string {
	var lost uint64
	var names []string
	for i, l := range b.lost {
		lost += l.To - l.From + 1
		if i < 10 {
			names = append(names, l.String())
		} else if i == 10 {
			names = append(names, "…")
		}
	}
	what := fmt.Sprintf("segment %d was damaged: %d events read", b.s.Number, b.events+b.carried)
	switch {
	case !b.found():
		what = fmt.Sprintf("segment %d was damaged: nothing of it could be read", b.s.Number)
	case lost > 0:
		what += fmt.Sprintf(", %d lost: %s", lost, strings.Join(names, ", "))
	default:
		what += ", none lost"
	}
	switch {
	case b.lostNotes > 0:
		what += fmt.Sprintf(", %d outcomes lost", b.lostNotes)
	case b.broken[string(format.BucketNotes)] || b.broken[""]: // the last ones leave no gap
		what += ", outcomes may be lost"
	}
	return what
}
