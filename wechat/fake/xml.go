package fake

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// readFields reads a message in the given format.
func readFields(f Format, body []byte) (object, error) {
	if f == XML {
		return readXML(body)
	}
	o, ok := readObject(body)
	if !ok {
		return o, errors.New("it is no JSON object")
	}
	return o, nil
}

// readXML reads <xml>…</xml>: no DOCTYPE, no attributes, at most three deep.
func readXML(body []byte) (object, error) {
	o := object{first: new(string), isXML: true}
	if !utf8.Valid(body) {
		return o, errors.New("it is not UTF-8")
	}
	top, text, err := readElements(xml.NewDecoder(bytes.NewReader(body)), 0)
	if err != nil {
		return o, err
	}
	roots, _ := top["xml"].([]any)
	if len(top) != 1 || len(roots) != 1 || strings.TrimSpace(text) != "" {
		return o, errors.New("it is not one <xml> element")
	}
	o.fields, _ = roots[0].(map[string]any)
	return o, nil
}

// readElements reads to the end of an element or, at the top, of the input. An
// element that holds others becomes a map in a list, another an xmlText, more
// of one name a list.
func readElements(d *xml.Decoder, depth int) (fields map[string]any, text string, err error) {
	fields = map[string]any{}
	for {
		token, err := d.Token()
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 3 || len(t.Attr) > 0 {
				return nil, "", fmt.Errorf("<%s> is too deep or has attributes", t.Name.Local)
			}
			inner, innerText, err := readElements(d, depth+1)
			if err != nil {
				return nil, "", err
			}
			add(fields, t.Name.Local, inner, innerText)
		case xml.EndElement:
			return fields, text, nil
		case xml.CharData:
			text += string(t)
		case nil:
			if errors.Is(err, io.EOF) && depth == 0 {
				return fields, text, nil
			}
			return nil, "", fmt.Errorf("it is no XML: %w", err)
		default:
			return nil, "", errors.New("it has a comment, an instruction or a DOCTYPE")
		}
	}
}

func add(fields map[string]any, name string, inner map[string]any, text string) {
	var value any = xmlText(text)
	if len(inner) > 0 {
		value = inner
	}
	switch had := fields[name].(type) {
	case nil:
		if fields[name] = value; len(inner) > 0 {
			fields[name] = []any{value}
		}
	case []any:
		fields[name] = append(had, value)
	default:
		fields[name] = []any{had, value}
	}
}
