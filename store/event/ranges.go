package event

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxRanges bounds how many runs of numbers Ranges names.
const maxRanges = 20

// Ranges names numbers, rising, for people: runs of them, and of many the first.
func Ranges(seqs []uint64) string {
	var names []string
	for i := 0; i < len(seqs); {
		from := i
		for i++; i < len(seqs) && seqs[i] == seqs[i-1]+1; i++ {
		}
		switch {
		case len(names) == maxRanges:
			return fmt.Sprintf("%s, … (%d in all)", strings.Join(names, ", "), len(seqs))
		case i-from == 1:
			names = append(names, fmt.Sprint(seqs[from]))
		default:
			names = append(names, fmt.Sprintf("%d-%d", seqs[from], seqs[i-1]))
		}
	}
	return strings.Join(names, ", ")
}

// Run lists n numbers from a first one on.
func Run(first, n uint64) []uint64 {
	seqs := make([]uint64, n)
	for i := range seqs {
		seqs[i] = first + uint64(i)
	}
	return seqs
}

// Numbers is a set of numbers that come rising for the most part, kept as runs.
type Numbers struct {
	runs   []run
	sorted bool
}

type run struct{ from, to uint64 }

// Add puts a number in.
func (n *Numbers) Add(seq uint64) {
	if i := len(n.runs); i > 0 && n.runs[i-1].to+1 == seq {
		n.runs[i-1].to = seq
		return
	}
	n.runs, n.sorted = append(n.runs, run{seq, seq}), false
}

// Has reports whether a number is in it.
func (n *Numbers) Has(seq uint64) bool {
	if !n.sorted {
		slices.SortFunc(n.runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
		n.sorted = true
	}
	i, _ := slices.BinarySearchFunc(n.runs, seq, func(r run, seq uint64) int { return cmp.Compare(r.to, seq) })
	return i < len(n.runs) && n.runs[i].from <= seq
}
