package callback

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
)

// decodeXML reads <xml><Name>value</Name>…</xml>. DOCTYPE, comments, processing
// instructions and all entities but the five of XML are refused; WeChat sends
// none of them.
func decodeXML(body []byte) (message, error) {
	var m message
	d := xmlReader{xml.NewDecoder(bytes.NewReader(body))}
	if err := d.root(); err != nil {
		return m, err
	}
	for {
		t, err := d.next()
		if err != nil {
			return m, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := d.element(t, &m); err != nil {
				return m, err
			}
		case xml.CharData:
			if err := blank(t); err != nil {
				return m, err
			}
		case xml.EndElement: // of the root: the decoder checks the nesting
			return m, d.end()
		}
	}
}

type xmlReader struct{ *xml.Decoder }

// next returns the next token of the kinds that may come.
func (d xmlReader) next() (xml.Token, error) {
	t, err := d.Token()
	if err != nil {
		return nil, badBody("no XML")
	}
	switch t.(type) {
	case xml.Directive:
		return nil, badBody("XML has a DOCTYPE")
	case xml.Comment, xml.ProcInst:
		return nil, badBody("XML has a comment or processing instruction")
	}
	return t, nil
}

// root reads up to the root element, over an XML declaration.
func (d xmlReader) root() error {
	t, err := d.Token() // the declaration is allowed here and nowhere else
	if err != nil {
		return badBody("no XML")
	}
	if p, ok := t.(xml.ProcInst); ok && p.Target == "xml" {
		t, err = d.next()
	}
	for ; err == nil; t, err = d.next() {
		switch v := t.(type) {
		case xml.StartElement:
			if v.Name.Local != "xml" || v.Name.Space != "" {
				return badBody("XML's root is not xml")
			}
			return nil
		case xml.CharData:
			if err := blank(v); err != nil {
				return err
			}
		case xml.Directive:
			return badBody("XML has a DOCTYPE")
		default:
			return badBody("no XML")
		}
	}
	return err
}

// element reads one child of the root.
func (d xmlReader) element(start xml.StartElement, m *message) error {
	name := start.Name.Local
	to := m.field(name)
	if to == nil || start.Name.Space != "" {
		return d.skip()
	}
	if err := m.once(name); err != nil {
		return err
	}
	var text []byte
	for {
		t, err := d.next()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.CharData:
			text = append(text, t...)
		case xml.EndElement:
			*to = strings.TrimSpace(string(text))
			return nil
		default:
			return badBody("%s is no text", name)
		}
	}
}

// skip reads past the element that has just begun. depth counts the root, too.
func (d xmlReader) skip() error {
	for depth := 2; depth > 1; {
		t, err := d.next()
		if err != nil {
			return err
		}
		switch t.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > maxDepth {
			return badBody("nested too deeply")
		}
	}
	return nil
}

// end makes sure that nothing but space follows the root.
func (d xmlReader) end() error {
	for {
		t, err := d.Token()
		if err == io.EOF {
			return nil
		}
		text, ok := t.(xml.CharData)
		if err != nil || !ok || blank(text) != nil {
			return badBody("something after the XML")
		}
	}
}

func blank(text []byte) error {
	if len(bytes.TrimSpace(text)) > 0 {
		return badBody("XML has text beside its elements")
	}
	return nil
}
