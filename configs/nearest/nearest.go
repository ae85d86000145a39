package nearest

import (
	"fmt"
	"strings"
)

// Unknown says that word is not among known, and which of them is nearest.
func Unknown(what, word string, known []string) string {
	if len(known) == 0 {
		return fmt.Sprintf("unknown %s %q", what, word)
	}
	return fmt.Sprintf("unknown %s %q; the nearest known one is %q", what, word, nearest(word, known))
}

// nearest returns the word of known with the fewest edits from word; of equals
// the first.
func nearest(word string, known []string) string {
	best, least := "", int(^uint(0)>>1)
	for _, k := range known {
		if d := Edits(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// Edits is the Levenshtein distance in bytes; only the first 64 bytes count, so that a
// hostile word costs little.
func Edits(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
