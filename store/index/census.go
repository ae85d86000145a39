package index

import (
	"cmp"
	"math/bits"
	"slices"
)

// census knows of every number in the store whether its event is pending, and
// of a pending one in which of the other sets it is. That is a bit each, so it
// holds all there are: 5 million pending events take one megabyte.
type census struct {
	blocks []*censusBlock // rising; those without a pending number are left out
	count  [numSets]int
}

// set is one of the sets of numbers in a census. All are parts of pending.
type set uint8

const (
	setPending set = iota
	setWaiting     // for waybill data; never in memory
	setCooling     // until many that failed are tried again; never in memory
	setHeld        // in memory, with an entry
	setTried1      // how often those were tried that cooled: a bit of the number each
	setTried2
	setTried4
	numSets
)

const (
	censusLen   = 1024 // numbers in a block
	censusWords = censusLen / 64
)

type censusBlock struct {
	number uint64 // it covers number*censusLen and what follows
	sets   [numSets]*[censusWords]uint64
}

// subset is what a search looks for: one of the sets, or what is in pending but not
// in others.
type subset uint8

const (
	anyPending = subset(setPending)
	anyWaiting = subset(setWaiting)
	anyCooling = subset(setCooling)
	anyHeld    = subset(setHeld)
	absent     = subset(numSets)     // not in memory
	shelved    = subset(numSets) + 1 // absent, neither waiting nor cooling: to be brought in some time
)

func (b *censusBlock) word(s set, i int) uint64 {
	if b.sets[s] == nil {
		return 0
	}
	return b.sets[s][i]
}

func (b *censusBlock) find(k subset, i int) uint64 {
	switch k {
	case absent:
		return b.word(setPending, i) &^ b.word(setHeld, i)
	case shelved:
		return b.word(setPending, i) &^ b.word(setHeld, i) &^ b.word(setWaiting, i) &^ b.word(setCooling, i)
	}
	return b.word(set(k), i)
}

// lacks reports whether nothing of a subset can be in a block, at a glance.
func (b *censusBlock) lacks(k subset) bool { return k < absent && b.sets[k] == nil }

// at returns where the block of a number is, or would be. Numbers are dense
// but for a few old ones, so a guess is nearly always right.
func (l *census) at(seq uint64) (i int, found bool) {
	number := seq / censusLen
	if n := len(l.blocks); n > 0 {
		if guess := number - l.blocks[0].number; guess < uint64(n) && l.blocks[guess].number == number {
			return int(guess), true
		}
		if number > l.blocks[n-1].number {
			return n, false
		}
	}
	return slices.BinarySearchFunc(l.blocks, number, func(b *censusBlock, number uint64) int {
		return cmp.Compare(b.number, number)
	})
}

// has reports whether a number is in a set.
func (l *census) has(s set, seq uint64) bool {
	i, found := l.at(seq)
	return found && l.blocks[i].word(s, int(seq%censusLen/64))&(1<<(seq%64)) != 0
}

// add puts a number into a set; into another than pending only if it is there.
func (l *census) add(s set, seq uint64) {
	i, found := l.at(seq)
	if !found {
		l.blocks = slices.Insert(l.blocks, i, &censusBlock{number: seq / censusLen})
	}
	b := l.blocks[i]
	if b.sets[s] == nil {
		b.sets[s] = new([censusWords]uint64)
	}
	if w, bit := &b.sets[s][seq%censusLen/64], uint64(1)<<(seq%64); *w&bit == 0 {
		*w |= bit
		l.count[s]++
	}
}

// del takes a number out of a set; out of pending only if it is in no other.
func (l *census) del(s set, seq uint64) {
	i, found := l.at(seq)
	if !found || l.blocks[i].sets[s] == nil {
		return
	}
	b := l.blocks[i]
	w, bit := &b.sets[s][seq%censusLen/64], uint64(1)<<(seq%64)
	if *w&bit == 0 {
		return
	}
	*w &^= bit
	l.count[s]--
	if *w != 0 || *b.sets[s] != [censusWords]uint64{} {
		return
	}
	if b.sets[s] = nil; s == setPending {
		l.blocks = slices.Delete(l.blocks, i, i+1)
	}
}

// next returns the first number of a subset at or above seq.
func (l *census) next(k subset, seq uint64) (uint64, bool) { return l.nextIn(k, seq, 1<<64-1) }

// nextIn returns the first number of a subset from `from` to `to`.
func (l *census) nextIn(k subset, from, to uint64) (uint64, bool) {
	i, found := l.at(from)
	w, mask := int(from%censusLen/64), ^uint64(0)<<(from%64)
	if !found {
		w, mask = 0, ^uint64(0)
	}
	for ; i < len(l.blocks) && l.blocks[i].number <= to/censusLen; i, w = i+1, 0 {
		if l.blocks[i].lacks(k) {
			mask = ^uint64(0)
			continue
		}
		for b := l.blocks[i]; w < censusWords; w++ {
			if word := b.find(k, w) & mask; word != 0 {
				seq := b.number*censusLen + uint64(w*64+bits.TrailingZeros64(word))
				return seq, seq <= to
			}
			mask = ^uint64(0)
		}
	}
	return 0, false
}

// prev returns the last number of a subset at or below seq.
func (l *census) prev(k subset, seq uint64) (uint64, bool) {
	i, found := l.at(seq)
	w, mask := int(seq%censusLen/64), ^uint64(0)>>(63-seq%64)
	if !found {
		i, w, mask = i-1, censusWords-1, ^uint64(0)
	}
	for ; i >= 0; i, w = i-1, censusWords-1 {
		if l.blocks[i].lacks(k) {
			mask = ^uint64(0)
			continue
		}
		for b := l.blocks[i]; w >= 0; w-- {
			if word := b.find(k, w) & mask; word != 0 {
				return b.number*censusLen + uint64(w*64+63-bits.LeadingZeros64(word)), true
			}
			mask = ^uint64(0)
		}
	}
	return 0, false
}

// list lists up to max numbers of a subset from `from` to `to`, rising; max -1: all.
func (l *census) list(k subset, from, to uint64, max int) (seqs []uint64) {
	for seq, ok := l.nextIn(k, from, to); ok && len(seqs) != max; seq, ok = l.nextIn(k, seq+1, to) {
		seqs = append(seqs, seq)
	}
	return seqs
}

// countIn counts the numbers of a subset from `from` to `to`.
func (l *census) countIn(k subset, from, to uint64) (n int) {
	if to < from {
		return 0
	}
	for i, _ := l.at(from); i < len(l.blocks) && l.blocks[i].number <= to/censusLen; i++ {
		b := l.blocks[i]
		for w := range censusWords {
			low := b.number*censusLen + uint64(w*64)
			if low > to || low+63 < from {
				continue
			}
			word := b.find(k, w)
			if low < from {
				word &= ^uint64(0) << (from - low)
			}
			if low+63 > to {
				word &= ^uint64(0) >> (63 - (to - low))
			}
			n += bits.OnesCount64(word)
		}
	}
	return n
}
