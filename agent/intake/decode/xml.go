package decode

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// ErrNotXML: a payload is no XML document.
var ErrNotXML = errors.New("not XML")

// XML reads an XML document in UTF-8 as JSON, whose pointers then lead to what is in it:
//
//	<scan id="7"><code type="QR">YT1</code><code>YT2</code></scan>
//	{"scan":{"@id":"7","code":["YT1","YT2"],"code@type":"QR"}}
//
// An element with only text in it is that text; its attributes stand beside it. Several
// of one name are an array. Names are without their namespace.
func XML(payload []byte) ([]byte, error) {
	d := xml.NewDecoder(bytes.NewReader(Strip(payload)))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // it is in UTF-8 by now
	open, nodes := []*xmlElement{{}}, 0
	for {
		token, err := d.Token()
		switch {
		case err == io.EOF && len(open) == 1 && len(open[0].names) > 0:
			n := open[0].node()
			return n.Raw(), nil
		case err == io.EOF:
			return nil, fmt.Errorf("%w: there is no element in it", ErrNotXML)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrNotXML, err)
		}
		inner := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			if nodes += 1 + len(token.Attr); nodes > maxNodes || len(open) > maxDepth {
				return nil, ErrTooLarge
			}
			open = append(open, &xmlElement{name: token.Name.Local, attrs: token.Attr})
		case xml.EndElement:
			open = open[:len(open)-1]
			open[len(open)-1].take(inner)
		case xml.CharData:
			inner.text = append(inner.text, token...)
		}
	}
}

// xmlElement is an element with what was read of it.
type xmlElement struct {
	name  string
	attrs []xml.Attr
	text  []byte
	names []string // of what is in it, each once, in the order met
	in    map[string][]Node
}

func (e *xmlElement) put(name string, n Node) {
	if e.in == nil {
		e.in = map[string][]Node{}
	}
	if _, ok := e.in[name]; !ok {
		e.names = append(e.names, name)
	}
	e.in[name] = append(e.in[name], n)
}

// take puts an element into this one. The attributes of one that is a text alone stand
// beside it, as that has no room for them.
func (e *xmlElement) take(inner *xmlElement) {
	text := string(bytes.TrimSpace(inner.text))
	if len(inner.names) == 0 && (text != "" || len(inner.attrs) == 0) {
		e.put(inner.name, NewString(text))
		for _, a := range inner.attrs {
			e.put(inner.name+"@"+a.Name.Local, NewString(a.Value))
		}
		return
	}
	for _, a := range inner.attrs {
		inner.put("@"+a.Name.Local, NewString(a.Value))
	}
	if text != "" {
		inner.put("#text", NewString(text))
	}
	e.put(inner.name, inner.node())
}

func (e *xmlElement) node() Node {
	kids := make([]Node, len(e.names))
	for i, name := range e.names {
		if kids[i] = e.in[name][0]; len(e.in[name]) > 1 {
			kids[i] = NewArray(e.in[name])
		}
	}
	return NewObject(e.names, kids)
}
