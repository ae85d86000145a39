package fake

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// fieldReader reads one message or one node of it, in either format.
type fieldReader interface {
	text(key string) string
	must(key string) string
	number(key string) int64
	list(key string) []fieldReader
	wrong() string
}

func readFields(f Format, body []byte) (fieldReader, error) {
	if f == XML {
		return readXML(body)
	}
	o, ok := readObject(body)
	if !ok {
		return nil, errors.New("it is no JSON object")
	}
	return jsonFields{o}, nil
}

// jsonFields makes a fieldReader of an object.
type jsonFields struct{ object }

func (j jsonFields) list(key string) []fieldReader {
	var out []fieldReader
	for _, o := range j.object.list(key) {
		out = append(out, jsonFields{o})
	}
	return out
}

// element is one XML element; only its children or its text matter.
type element struct {
	name     string
	value    string
	children []*element
	first    *string // the first problem, shared by the whole tree
}

// readXML reads <xml>…</xml>: no DOCTYPE, no attributes, at most three deep.
func readXML(body []byte) (*element, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	first := new(string)
	root := &element{first: first}
	if err := root.read(d, 0); err != nil {
		return nil, err
	}
	if len(root.children) != 1 || root.children[0].name != "xml" || strings.TrimSpace(root.value) != "" {
		return nil, errors.New("it is not one <xml> element")
	}
	return root.children[0], nil
}

// read reads children until the element's end or, at the top, the input's.
func (e *element) read(d *xml.Decoder, depth int) error {
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && depth == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is no XML: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 3 || len(t.Attr) > 0 {
				return fmt.Errorf("<%s> is too deep or has attributes", t.Name.Local)
			}
			child := &element{name: t.Name.Local, first: e.first}
			e.children = append(e.children, child)
			if err := child.read(d, depth+1); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		case xml.CharData:
			e.value += string(t)
		default:
			return errors.New("it has a comment, an instruction or a DOCTYPE")
		}
	}
}

func (e *element) wrong() string { return *e.first }

func (e *element) complain(key, what string) {
	if *e.first == "" {
		*e.first = key + " " + what
	}
}

func (e *element) all(key string) (found []*element) {
	for _, c := range e.children {
		if c.name == key {
			found = append(found, c)
		}
	}
	return found
}

func (e *element) text(key string) string {
	found := e.all(key)
	if len(found) == 0 {
		return ""
	}
	if len(found) > 1 || len(found[0].children) > 0 {
		e.complain(key, "is there twice or is no text")
	}
	return found[0].value
}

func (e *element) must(key string) string {
	v := e.text(key)
	if v == "" {
		e.complain(key, "is missing")
	}
	return v
}

func (e *element) number(key string) int64 {
	v, err := strconv.ParseInt(strings.TrimSpace(e.must(key)), 10, 64)
	if err != nil {
		e.complain(key, "is no whole number")
	}
	return v
}

// list returns the elements of that name: XML repeats them, an empty list
// leaves nothing to see (or one empty element).
func (e *element) list(key string) []fieldReader {
	var out []fieldReader
	for _, c := range e.all(key) {
		if len(c.children) == 0 && strings.TrimSpace(c.value) == "" && len(e.all(key)) == 1 {
			return nil
		}
		out = append(out, c)
	}
	return out
}
