package repair

import (
	"fmt"
	"slices"
	"strings"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/format"
)

// Span is a run of numbers.
type Span = format.Span

// account gives every event that is missing an empty place, and counts.
func (b *rebuilder) account() error {
	if b.meta.First == 0 {
		b.meta.First = b.s.First
	}
	if b.meta.Number == 1 { // it is nobody's next
		b.meta.First = 1
	}
	next := b.meta.First
	for seq := range b.to.keys(format.BucketEvents) {
		if next == 0 {
			next = seq
			b.meta.First = seq
		}
		b.miss(next, seq)
		next = seq + 1
	}
	if next == 0 {
		next = max(b.state.NextSeq, 1)
		b.meta.First = next
	}
	// Of a sealed segment the state is that of its end, of the newest too.
	end := b.s.Until
	if b.heads {
		end = max(end, b.state.NextSeq)
	}
	end = max(end, b.s.AtLeast)
	b.miss(next, end)
	next = max(next, end)
	b.state.NextSeq = max(b.state.NextSeq, next)
	for _, l := range b.lost {
		for seq := l.From; seq <= l.To; seq++ {
			if err := b.to.lose(format.BucketEvents, codec.Key(seq)); err != nil {
				return err
			}
		}
	}
	if err := b.accountCarried(); err != nil {
		return err
	}
	b.lostNotes = b.lastNote - b.notes
	return nil
}

// accountCarried does so for carried events: with each came a note, and a checkpoint
// may know of it.
func (b *rebuilder) accountCarried() error {
	b.copied = append(b.copied, b.s.Carried...)
	slices.Sort(b.copied)
	for _, seq := range slices.Compact(b.copied) {
		if b.to.has(format.BucketCarried, codec.Key(seq)) {
			continue
		}
		b.miss(seq, seq+1)
		if err := b.to.lose(format.BucketCarried, codec.Key(seq)); err != nil {
			return err
		}
	}
	return nil
}

func (b *rebuilder) miss(from, to uint64) {
	if n := len(b.lost); n > 0 && from < to && b.lost[n-1].To+1 == from {
		b.lost[n-1].To = to - 1
	} else if from < to {
		b.lost = append(b.lost, Span{From: from, To: to - 1})
	}
}

// Empty reports whether an event has an empty place in a segment.
func Empty(r boltpage.Reader, seq uint64) bool {
	v := r.Bucket(format.BucketEvents).Get(codec.Key(seq))
	if v == nil {
		v = r.Bucket(format.BucketCarried).Get(codec.Key(seq))
	}
	return v != nil && len(v) == 0
}

func nothingRead(number uint64) string {
	return fmt.Sprintf("segment %d was damaged: nothing of it could be read", number)
}

// What a report says of what nobody can count. A segment that is rebuilt once more says
// it again: it still lacks that.
const (
	laterLost    = ", later ones may be lost"
	carriedLost  = ", and others that were carried may be lost"
	outcomesLost = ", outcomes may be lost"
)

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
	// Of the newest segment only its root says how many there were.
	later := b.broken[""] && b.s.Until == 0 || strings.Contains(b.before, laterLost)
	switch {
	case !b.found():
		what = nothingRead(b.s.Number)
	case lost > 0:
		what += fmt.Sprintf(", %d lost: %s", lost, strings.Join(names, ", "))
	case !later:
		what += ", none lost"
	}
	if later && b.found() {
		what += laterLost
	}
	notes := b.broken[string(format.BucketNotes)] || b.broken[""]
	if b.s.Number > 1 && len(b.s.Carried) == 0 && (notes || b.lostNotes > 0) && (b.broken[string(format.BucketCarried)] || b.broken[""]) || strings.Contains(b.before, carriedLost) {
		what += carriedLost
	}
	switch {
	case b.lostNotes > 0:
		what += fmt.Sprintf(", %d outcomes lost", b.lostNotes)
	case notes || strings.Contains(b.before, outcomesLost): // the last ones leave no gap
		what += outcomesLost
	}
	if b.s.Aside != "" {
		what += "; kept as " + b.s.Aside
	}
	return what
}
