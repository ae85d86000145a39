package scan

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maskText masks free text, in which a name may stand anywhere: every letter, and
// every run of seven or more digits.
func maskText(s string) string { return MaskDigitRuns(maskLetters(s, true)) }

// maskLetters masks letters, those of ASCII only if asked to, and whatever is no
// UTF-8.
func maskLetters(s string, ascii bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		hide := unicode.IsLetter(r) || unicode.IsMark(r)
		if r < utf8.RuneSelf && !ascii || r == utf8.RuneError {
			hide = r == utf8.RuneError
		}
		if hide {
			b.WriteByte('*')
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

var (
	// quotedText is a JSON string with what tells a key from a value; a broken one ends
	// with the text.
	quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"?(?:\s*:)?`)
	escaped    = regexp.MustCompile(`\\u[0-9a-fA-F]{4}`)
	// personal are keys whose values may hold a name or an address in any script.
	personal = regexp.MustCompile(`(?i)name|addr|contact|person|consignee|receiver|recipient|sender|courier|remark|note|sign|msg|message|text|姓名|人|地址|备注`)
)

// MaskNames masks a value of which only the key is known, as MaskPayload would in a
// payload, but leaves digits.
func MaskNames(key, value string) string { return maskLetters(value, personal.MatchString(key)) }

// MaskPayload masks what a device sent, or a text that quotes it: every letter that is not ASCII, values of
// keys that sound like a person or an address whole, and long runs of digits. Keys
// and codes stay, by which one sees what a mapping needs.
func MaskPayload(p string) string {
	if strings.IndexByte(p, 0) >= 0 {
		return strings.Repeat("*", len(p)) // no text, or UTF-16
	}
	var b strings.Builder
	key, at := "", 0
	for _, m := range quotedText.FindAllStringIndex(p, -1) {
		b.WriteString(maskLetters(p[at:m[0]], false))
		at = m[1]
		switch s := p[m[0]:m[1]]; {
		case strings.HasSuffix(s, ":"):
			key = s
			b.WriteString(s)
		case personal.MatchString(key):
			b.WriteString(maskText(escaped.ReplaceAllString(s, "*")))
		default:
			b.WriteString(maskLetters(escaped.ReplaceAllString(s, "*"), false))
		}
	}
	b.WriteString(maskLetters(p[at:], false))
	return MaskDigitRuns(b.String())
}
