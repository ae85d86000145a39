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
	d := xml.NewDecoder(bytes.NewReader(body)) // checks the nesting
	r := xmlReader{m: message{}}
	for first := true; ; first = false {
		t, err := d.Token()
		switch p, _ := t.(xml.ProcInst); {
		case err == io.EOF && r.ended:
			return r.m, nil
		case err != nil && !r.ended:
			return r.m, badBody("no XML")
		case first && p.Target == "xml": // the declaration, allowed here and nowhere else
		default:
			if err := r.take(t); err != nil {
				return r.m, err
			}
		}
	}
}

// xmlReader puts a message together from the tokens of its XML.
type xmlReader struct {
	m     message
	depth int    // of open elements, the root's is 1
	ended bool   // the root has been read
	name  string // of the open element, where it is one of ours
	text  []byte
}

func (r *xmlReader) take(t xml.Token) error {
	text, isText := t.(xml.CharData)
	blank := isText && len(bytes.TrimSpace(text)) == 0
	if r.ended && !blank {
		return badBody("something after the XML")
	}
	switch t := t.(type) {
	case xml.StartElement:
		return r.start(t.Name)
	case xml.EndElement:
		return r.end()
	case xml.CharData:
		if r.depth < 2 && !blank {
			return badBody("XML has text beside its elements")
		}
		r.text = append(r.text, t...)
	case xml.Directive:
		return badBody("XML has a DOCTYPE")
	default:
		return badBody("XML has a comment or processing instruction")
	}
	return nil
}

func (r *xmlReader) start(n xml.Name) error {
	r.depth++
	switch {
	case r.name != "":
		return badBody("%s is no text", r.name)
	case r.depth > maxDepth:
		return badBody("nested too deeply")
	case r.depth == 1 && n != xml.Name{Local: "xml"}:
		return badBody("XML's root is not xml")
	case r.depth == 2 && n.Space == "" && wanted[n.Local]:
		r.name, r.text = n.Local, nil
	}
	return nil
}

func (r *xmlReader) end() error {
	r.depth--
	r.ended = r.depth == 0
	name := r.name
	if r.name = ""; name == "" {
		return nil
	}
	return r.m.set(name, strings.TrimSpace(string(r.text)))
}
