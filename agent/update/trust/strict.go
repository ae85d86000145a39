package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// deepest is how far JSON may be nested; TUF needs six levels.
const deepest = 16

// exactly reads JSON into v that has one meaning only: each key once, in order, and as
// its field is written, since encoding/json takes the last of two and any case.
func exactly(data []byte, v any) error {
	if _, err := canonical(data); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// canonical writes JSON anew in the canonical form: bytes that differ from it would be
// another text to a verifier that does so before it looks at signatures.
func canonical(data []byte) ([]byte, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("is no UTF-8")
	}
	w := writer{from: json.NewDecoder(bytes.NewReader(data))}
	w.from.UseNumber()
	if err := w.value(0); err != nil {
		return nil, err
	}
	if _, err := w.from.Token(); err != io.EOF {
		return nil, errors.New("goes on behind its end")
	}
	return w.to.Bytes(), nil
}

type writer struct {
	from *json.Decoder
	to   bytes.Buffer
}

func (w *writer) value(depth int) error {
	if depth > deepest {
		return fmt.Errorf("is nested deeper than %d", deepest)
	}
	t, err := w.from.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		w.to.WriteRune(rune(t))
		if t == '{' {
			err = w.members(depth)
		} else {
			err = w.elements(depth)
		}
		if err == nil {
			t, err = closing(w.from)
			w.to.WriteRune(rune(t))
		}
		return err
	case json.Number:
		return w.number(t)
	case string:
		w.text(t)
	case bool:
		w.to.WriteString(strconv.FormatBool(t))
	default:
		w.to.WriteString("null")
	}
	return nil
}

func closing(from *json.Decoder) (json.Delim, error) {
	t, err := from.Token()
	d, _ := t.(json.Delim)
	return d, err
}

func (w *writer) members(depth int) error {
	for last, first := "", true; w.from.More(); first = false {
		t, err := w.from.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		switch {
		case !first && key == last:
			return fmt.Errorf("has the key %q twice", key)
		case !first && key < last:
			return fmt.Errorf("has the key %q behind %q: keys must be in order", key, last)
		case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' || 'A' <= r && r <= 'Z' }):
			return fmt.Errorf("has the key %q, which must be small letters", key)
		}
		if !first {
			w.to.WriteByte(',')
		}
		last = key
		w.text(key)
		w.to.WriteByte(':')
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) elements(depth int) error {
	for first := true; w.from.More(); first = false {
		if !first {
			w.to.WriteByte(',')
		}
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// exact is the largest number that every reader of JSON understands alike.
const exact = 1 << 53

func (w *writer) number(n json.Number) error {
	i, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil || i <= -exact || i >= exact || strconv.FormatInt(i, 10) != n.String() {
		return fmt.Errorf("has the number %.40s, which must be whole and below 2^53", n)
	}
	w.to.WriteString(n.String())
	return nil
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func (w *writer) text(s string) {
	w.to.WriteString(`"` + escapes.Replace(s) + `"`)
}
