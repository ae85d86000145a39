package callback

import (
	"bytes"
	"encoding/json"
)

// decodeJSON reads a JSON object member by member: json.Unmarshal would take names in
// any case and the last of two equal ones.
func decodeJSON(body []byte) (message, error) {
	m := message{}
	object, rest, deep := cutJSON(body)
	switch {
	case deep:
		return m, badBody("nested too deeply")
	case len(bytes.TrimLeft(rest, space)) > 0:
		return m, badBody("something after the JSON object")
	case object[0] != '{' || !json.Valid(object):
		return m, badBody("no JSON object")
	}
	// It is valid, so commas and colons are where they belong.
	for rest = object[1:]; ; {
		var name, value []byte
		if rest = bytes.TrimLeft(rest, space+","); rest[0] == '}' {
			return m, nil
		}
		name, rest, _ = cutJSON(rest)
		value, rest, _ = cutJSON(bytes.TrimLeft(rest, space+":"))
		if err := m.member(unquote(name), value); err != nil {
			return m, err
		}
	}
}

const space = " \t\r\n" // JSON's

// member sets a field to a JSON value.
func (m message) member(name string, value []byte) error {
	switch c := value[0]; {
	case !wanted[name]:
		return nil
	case c == '"':
		return m.set(name, unquote(value))
	case c == 'n': // null
		return m.set(name, "")
	case c == '-' || '0' <= c && c <= '9': // digits stay as they came
		return m.set(name, string(value))
	}
	return badBody("%s is no text", name)
}

// unquote is what a JSON string says.
func unquote(quoted []byte) (s string) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	_ = json.Unmarshal(quoted, &s) // it is valid
	return s
}

// cutJSON cuts off the value that b begins with, valid or not, or reports that it is
// nested too deeply.
func cutJSON(b []byte) (value, rest []byte, deep bool) {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		end := i + 1
		switch c := b[i]; {
		case text && c == '\\':
			i++
			continue
		case c == '"':
			if text = !text; text {
				continue
			}
		case text:
			continue
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return nil, nil, true
			}
			continue
		case c == '}', c == ']':
			if depth--; depth < 0 {
				depth, end = 0, i
			}
		case depth == 0 && bytes.IndexByte([]byte(space+",:"), c) >= 0:
			end = i
		default:
			continue
		}
		if depth == 0 {
			return b[:end], b[end:], false
		}
	}
	return b, nil, false
}
