package mapping

import "regexp"

// What an expression of ignore takes out is the smallest part of a message that
// it matches: a code, else the element or line that holds it, else the message.
// So NOREAD among good reads takes none of them along, and an expression about
// the envelope takes all.

func matchesAny(list []*regexp.Regexp, text []byte) bool {
	for _, re := range list {
		if re.Match(text) {
			return true
		}
	}
	return false
}

func matchesCode(re *regexp.Regexp, codes []code) bool {
	for _, c := range codes {
		if re.MatchString(c.text) {
			return true
		}
	}
	return false
}

// ignoresElement reports whether an expression matches the element, and none of
// its codes.
func (s *source) ignoresElement(el *element, codes []code) bool {
	for _, re := range s.ignore {
		if re.Match(el.raw) && !matchesCode(re, codes) {
			return true
		}
	}
	return false
}

// ignoresAround reports whether an expression matches the message, and none of
// its elements.
func (s *source) ignoresAround(text []byte, elements []element, codes [][]code) bool {
	for _, re := range s.ignore {
		if !re.Match(text) {
			continue
		}
		within := false
		for i := range elements {
			within = within || re.Match(elements[i].raw) || matchesCode(re, codes[i])
		}
		if !within {
			return true
		}
	}
	return false
}
