package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// maxMended bounds what mending makes of a payload, in bytes.
const maxMended = 4 << 20

// mended is a JSON value that was made of what is almost JSON.
type mended struct {
	json []byte
	what string // what was done first; "": nothing
}

// mend reads what is almost JSON, as devices and scripts print it, once, and writes
// the JSON that it means: control characters and bad escapes in texts; NaN and the
// like, which are null; numbers that no JSON number is, and bare words, which are
// texts; single quotes, Python's letters before a quote, names without quotes, commas
// too many, commas that are missing where nothing else can be meant, comments. False: it
// is something else, or ends too early. Only an object, an array or a text stands by
// itself.
func mend(payload []byte) (values []mended, ok bool) {
	m := mender{in: payload, left: maxNodes}
	for m.space(); m.pos < len(m.in); m.space() {
		m.out, m.what = nil, ""
		if c := m.peek(); len(values) > 0 && (c == ',' || c == ';') {
			m.did("a " + map[byte]string{',': "comma", ';': "semicolon"}[c] + " between values")
			m.pos++
			continue
		}
		m.prefix()
		switch m.peek() {
		case '{', '[', '"', '\'':
		default:
			return nil, false
		}
		if !m.value(0) || !json.Valid(m.out) {
			return nil, false
		}
		values = append(values, mended{m.out, m.what})
	}
	return values, len(values) > 0
}

type mender struct {
	in   []byte
	pos  int
	out  []byte
	size int
	left int
	what string
}

func (m *mender) peek() byte {
	if m.pos < len(m.in) {
		return m.in[m.pos]
	}
	return 0
}

// space steps over blanks, and over control characters and comments, which mean nothing
// here.
func (m *mender) space() {
	for m.pos < len(m.in) {
		switch c := m.in[m.pos]; {
		case c == '\t' || c == '\r' || c == '\n' || c == ' ':
			m.pos++
		case c < ' ' || c == 0x7f:
			m.did("a control character")
			m.pos++
		case c == '/' && comment.Match(m.in[m.pos:]):
			m.did("a comment")
			m.pos += len(comment.Find(m.in[m.pos:]))
		default:
			return
		}
	}
}

// prefix steps over the letters that Python prints before a quote.
func (m *mender) prefix() {
	if n := len(quoted.Find(m.in[m.pos:])); n > 0 {
		m.did("a letter before a quote")
		m.pos += n - 1
	}
}

func (m *mender) did(what string) { m.didAt(m.pos, what) }

func (m *mender) didAt(pos int, what string) {
	if m.what == "" {
		m.what = fmt.Sprintf("%s at byte %d", what, pos+1)
	}
}

func (m *mender) write(s string) {
	m.size += len(s)
	m.out = append(m.out, s...)
}

func (m *mender) value(depth int) bool {
	if m.left--; m.left < 0 || depth > maxDepth || m.size > maxMended {
		return false
	}
	m.space()
	m.prefix()
	switch m.peek() {
	case '{':
		return m.list(depth, '}')
	case '[':
		return m.list(depth, ']')
	case '"':
		return m.text('"')
	case '\'':
		m.did("single quotes")
		return m.text('\'')
	case ',', '}', ']': // where a value should be
		m.did("a missing value")
		m.write("null")
		return true
	default:
		return m.word(false)
	}
}

// list reads an object or an array.
func (m *mender) list(depth int, end byte) bool {
	m.write(string(m.in[m.pos]))
	m.pos++
	for first := true; ; first = false {
		if m.space(); m.peek() == end {
			m.pos++
			m.write(string(end))
			return true
		}
		if !first {
			m.write(",")
		}
		if end == '}' && !m.name() || !m.value(depth+1) {
			return false
		}
		m.space()
		switch m.peek() {
		case ',':
			m.pos++
			if m.space(); m.peek() == end {
				m.did("a comma too many")
			}
		case end:
		default:
			if !m.next(end) {
				return false
			}
			m.did("a missing comma")
		}
	}
}

// next reports whether what stands where a comma should be can only be the next one of a
// list: an object behind an object, or a member's name in quotes, which a colon has to
// follow. Two quotes side by side may be one that nobody escaped.
func (m *mender) next(end byte) bool {
	before, c := m.in[m.pos-1], m.peek()
	if end == ']' {
		return c == '{' && bytes.HasSuffix(bytes.TrimSpace(m.in[:m.pos]), []byte("}"))
	}
	return (c == '"' || c == '\'') && before != '"' && before != '\''
}

// name reads a member's name and the colon.
func (m *mender) name() bool {
	ok := false
	m.prefix()
	switch m.peek() {
	case '"':
		ok = m.text('"')
	case '\'':
		m.did("single quotes")
		ok = m.text('\'')
	default:
		m.did("a name without quotes")
		ok = m.word(true)
	}
	if m.space(); !ok || m.peek() != ':' {
		return false
	}
	m.pos++
	m.write(":")
	return true
}

// text reads a text up to its quote.
func (m *mender) text(quote byte) bool {
	m.write(`"`)
	for m.pos++; m.pos < len(m.in); m.pos++ {
		switch c := m.in[m.pos]; {
		case c == quote:
			m.pos++
			m.write(`"`)
			return true
		case c == '\\':
			if !m.escape() {
				return false
			}
		case c < ' ':
			m.did("a control character in a text")
			m.write(fmt.Sprintf(`\u%04x`, c))
		case c == '"':
			m.write(`\"`)
		default:
			m.size++
			m.out = append(m.out, c)
		}
		if m.size > maxMended {
			return false
		}
	}
	return false
}

var (
	comment = regexp.MustCompile(`^(//[^\n]*|/\*(?s:.*?)\*/)`)
	quoted  = regexp.MustCompile(`^[uUbB]['"]`)
)

var (
	hex2 = regexp.MustCompile(`^x[0-9a-fA-F]{2}`)
	hex4 = regexp.MustCompile(`^u[0-9a-fA-F]{4}`)
)

// escape reads a backslash and what belongs to it; one that JSON has not stands for
// itself.
func (m *mender) escape() bool {
	rest := m.in[m.pos+1:]
	switch {
	case len(rest) == 0:
		return false
	case bytes.IndexByte([]byte(`"\/bfnrt`), rest[0]) >= 0:
		m.write(string(m.in[m.pos : m.pos+2]))
		m.pos++
	case hex4.Match(rest):
		m.write(string(m.in[m.pos : m.pos+6]))
		m.pos += 5
	case rest[0] == '\'':
		m.did("an escape that JSON has not")
		m.write("'")
		m.pos++
	case hex2.Match(rest):
		m.did("an escape that JSON has not")
		m.write(`\u00` + string(rest[1:3]))
		m.pos += 3
	default:
		m.did("an escape that JSON has not")
		m.write(`\\`)
	}
	return true
}

var (
	nothing   = regexp.MustCompile(`(?i)^[+-]?(nan(\([^)]*\))?|inf|infinity|1\.?#[a-z]+|undefined|none|nil|n/a)$`)
	bareWords = regexp.MustCompile(`^[A-Za-z0-9_.+:/#$-]{1,256}$`)
)

// word reads what stands without quotes: a number, true, false, null, or what is
// meant by it.
func (m *mender) word(name bool) bool {
	from := m.pos
	for m.pos < len(m.in) && m.in[m.pos] > ' ' && bytes.IndexByte([]byte(`,]}[{"'`), m.in[m.pos]) < 0 && (m.in[m.pos] != ':' || !name) {
		m.pos++
	}
	word := string(m.in[from:m.pos])
	lower := strings.ToLower(word)
	switch {
	case name && bareWords.MatchString(word):
		m.write(`"` + word + `"`)
	case name:
		return false
	case json.Valid([]byte(word)):
		m.write(word)
	case lower == "true" || lower == "false" || lower == "null":
		m.didAt(from, word)
		m.write(lower)
	case nothing.MatchString(word):
		m.didAt(from, word)
		m.write("null")
	case bareWords.MatchString(word):
		m.didAt(from, "a word without quotes")
		m.write(`"` + word + `"`)
	default:
		return false
	}
	return true
}
