package callback

import (
	"bytes"
	"encoding/json"
	"io"
)

// decodeJSON reads a JSON object token by token: json.Unmarshal would take
// names in any case and the last of two equal ones.
func decodeJSON(body []byte) (message, error) {
	m := message{}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // digits stay as they came
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return m, badBody("no JSON object")
	}
	for d.More() {
		if err := decodeMember(d, m); err != nil {
			return m, err
		}
	}
	if _, err := d.Token(); err != nil {
		return m, badBody("JSON is cut off")
	}
	if _, err := d.Token(); err != io.EOF {
		return m, badBody("something after the JSON object")
	}
	return m, nil
}

// decodeMember reads one name and its value.
func decodeMember(d *json.Decoder, m message) error {
	t, err := d.Token()
	name, ok := t.(string)
	if err != nil || !ok {
		return badBody("no JSON")
	}
	if !wanted[name] {
		return skipJSON(d)
	}
	value, err := d.Token()
	if err != nil {
		return badBody("no JSON")
	}
	switch v := value.(type) {
	case string:
		return m.set(name, v)
	case json.Number:
		return m.set(name, v.String())
	case nil:
		return m.set(name, "")
	}
	return badBody("%s is no text", name)
}

// skipJSON reads past one value.
func skipJSON(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return badBody("no JSON")
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth >= maxDepth {
			return badBody("nested too deeply")
		}
		if depth == 0 {
			return nil
		}
	}
}
