package snapshot

import "strings"

// NormalizePhone drops spaces, hyphens, parentheses and China's country code, so
// that one phone written in two ways is one phone.
func NormalizePhone(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -()\t", r) {
			return -1
		}
		return r
	}, s)
	for _, prefix := range []string{"+86", "0086"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			return rest
		}
	}
	return s
}
