package secret

import (
	_ "embed"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// wordsList is the words that error texts are made of: those of ours and of WeChat's.
//
//go:embed words.txt
var wordsList string

var knownWords = sync.OnceValue(func() map[string]bool {
	known := make(map[string]bool)
	for word := range strings.FieldsSeq(wordsList) {
		known[word] = true
	}
	return known
})

var (
	foreignField = regexp.MustCompile(`\S+`)
	foreignWord  = regexp.MustCompile(`[\pL\pM\pN_]+`)
	// split is a phone number with blanks, dashes or commas in it.
	split = regexp.MustCompile(`\p{Nd}(?:(?:[\pZ\p{Pd}()+/=]{0,2}|[,、，])\p{Nd}){6,}`)
)

// unknown stands for what is not shown.
const unknown = "…"

// Foreign is what may be shown of a text that somebody else wrote about something of
// ours, as an error: it may quote names, addresses and phones in any script. Shown are
// words of which such texts are made, codes and IP addresses, and ours where one stands by
// itself.
func Foreign(text string, ours ...string) string {
	for _, own := range ours {
		if before, after, found := strings.Cut(text, own); found && own != "" && !goesOn(before, after) {
			return Foreign(before, ours...) + own + Foreign(after, ours...)
		}
	}
	text = foreignField.ReplaceAllStringFunc(text, func(field string) string {
		if isAddress(strings.Trim(field, `"'<>()[]{},;.`)) {
			return field
		}
		return foreignWord.ReplaceAllStringFunc(dotted(field), showWord)
	})
	return split.ReplaceAllString(text, Masked)
}

// quotedPart is what Go's errors quote of what they did not understand.
var quotedPart = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// Quotes is what may be shown of an error of ours that may quote another's text, as one
// of net/http does: Foreign of what stands in quotes.
func Quotes(text string) string {
	return quotedPart.ReplaceAllStringFunc(text, func(q string) string { return Foreign(q) })
}

// goesOn reports whether a word or a number around a place goes on beyond it.
func goesOn(before, after string) bool {
	inner := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || r == '_' }
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	return inner(last) || inner(first)
}

func isAddress(s string) bool {
	addr, bad := netip.ParseAddr(s)
	if bad != nil {
		var port netip.AddrPort
		port, bad = netip.ParseAddrPort(strings.TrimSuffix(s, ":"))
		addr = port.Addr()
	}
	return bad == nil && addr.Zone() == "" // a zone may be any text
}

// dotted masks a number with dots in it that is no address.
func dotted(field string) string {
	if n := strings.Count(field, "."); n > 0 && len(strings.Trim(field, "0123456789.,;:()")) == 0 && len(field)-n >= 7 {
		return Masked
	}
	return field
}

// showWord returns a word if it is known, or a short number.
func showWord(word string) string {
	parts := strings.FieldsFunc(strings.ToLower(word), func(r rune) bool { return r == '_' || unicode.IsDigit(r) })
	digits := 0
	for _, r := range word {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	if digits >= 7 {
		return Masked
	}
	for _, part := range parts {
		if len(part) > 1 && !knownWords()[part] {
			return unknown
		}
	}
	return word
}
