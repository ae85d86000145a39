package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds of one JSON payload. They are far above what devices send and keep a
// hostile payload from taking a gateway's memory.
const (
	maxNodes = 100_000
	maxDepth = 100
)

// Errors of JSON.
var (
	ErrNotJSON  = errors.New("not JSON")
	ErrTooLarge = fmt.Errorf("more than %d values or nested deeper than %d", maxNodes, maxDepth)
)

// Doc is one JSON value of a payload: the whole of it, or one of several on
// lines. Err is set for a line that is no JSON; then only Raw is.
type Doc struct {
	Root   Node
	Raw    []byte
	Err    error
	Mended string // what had to be mended before it was JSON; "": nothing
}

// JSON reads one JSON value, or several one after another, as objects on lines;
// with gbk what it wraps may be in GBK. What is almost JSON is mended, and bytes in
// base64 or hex are read, where an object or an array comes out. Of several on
// lines a broken one is returned with its error; if no line is right the whole
// payload is ErrNotJSON.
func JSON(payload []byte, gbk bool) ([]Doc, error) {
	t := newTree(gbk)
	raws, whole := stream(payload)
	switch {
	case errors.Is(whole, ErrTooLarge):
		return nil, whole
	case whole == nil:
		values := make([]mended, len(raws))
		for i, raw := range raws {
			values[i].json = raw
		}
		return t.docs(values)
	}
	if values, ok := mend(payload); ok {
		return t.docs(values)
	}
	docs, err := t.lines(payload)
	if err != nil || docs != nil {
		return docs, err
	}
	n := Node{Kind: String, text: string(payload), tree: t}
	if in := n.Inside(); in != &n {
		return []Doc{{Root: *in, Raw: payload}}, nil
	}
	return nil, whole
}

func (t *tree) docs(values []mended) ([]Doc, error) {
	docs := make([]Doc, len(values))
	for i, v := range values {
		p := parser{data: v.json, tree: t}
		root, err := p.value(0)
		if err != nil {
			return nil, err
		}
		docs[i] = Doc{Root: root, Raw: v.json, Mended: v.what}
	}
	return docs, nil
}

// stream splits a payload into its JSON values.
func stream(payload []byte) (raws []json.RawMessage, err error) {
	if json.Valid(payload) {
		return []json.RawMessage{bytes.TrimSpace(payload)}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	for {
		var raw json.RawMessage
		switch err := dec.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return raws, nil
		case err != nil:
			return nil, fmt.Errorf("%w: %s", ErrNotJSON, describe(err))
		}
		if raws = append(raws, raw); len(raws) > maxNodes {
			return nil, ErrTooLarge
		}
	}
}

func describe(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("%s at byte %d", syntax.Error(), syntax.Offset)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ends too early"
	}
	return err.Error()
}

// MaxLines is how many lines of a payload are told apart: each takes a hundred times
// what it has come in.
const MaxLines = 4096

// lines reads objects on lines of which some are broken; nil if no line is right, or
// there are too many.
func (t *tree) lines(payload []byte) ([]Doc, error) {
	var docs []Doc
	good := 0
	lines := Lines(payload)
	if len(lines) > MaxLines {
		return nil, nil
	}
	for _, line := range lines {
		values, ok := []mended{{json: line}}, json.Valid(line)
		if !ok {
			values, ok = mend(line)
		}
		if !ok {
			docs = append(docs, Doc{Raw: line, Err: fmt.Errorf("%w: %s", ErrNotJSON, describe(json.Unmarshal(line, new(any))))})
			continue
		}
		more, err := t.docs(values)
		if err != nil {
			return nil, err
		}
		for i := range more {
			if k := more[i].Root.Kind; k == Object || k == Array {
				good++
			}
		}
		docs = append(docs, more...)
	}
	if good == 0 {
		return nil, nil
	}
	return docs, nil
}

// parser reads JSON that encoding/json found valid: it checks bounds only.
type parser struct {
	data []byte
	pos  int
	tree *tree
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return
		}
	}
}

func (p *parser) value(depth int) (Node, error) {
	if p.tree.nodes--; p.tree.nodes < 0 || depth > maxDepth {
		return Node{}, ErrTooLarge
	}
	p.space()
	start := p.pos
	switch p.data[p.pos] {
	case '{':
		return p.object(start, depth)
	case '[':
		return p.array(start, depth)
	case '"':
		p.skipString()
		return Node{Kind: String, raw: p.data[start:p.pos], tree: p.tree}, nil
	case 't', 'n':
		p.pos += 4
	case 'f':
		p.pos += 5
	default:
		p.skipNumber()
		return Node{Kind: Number, raw: p.data[start:p.pos]}, nil
	}
	if p.data[start] == 'n' {
		return Node{Kind: Null, raw: p.data[start:p.pos]}, nil
	}
	return Node{Kind: Bool, raw: p.data[start:p.pos]}, nil
}

func (p *parser) object(start, depth int) (Node, error) {
	n := Node{Kind: Object, tree: p.tree}
	for p.more('}') {
		key := p.pos
		p.skipString()
		n.keys = append(n.keys, unquote(p.data[key:p.pos]))
		p.space()
		p.pos++ // the colon
		kid, err := p.value(depth + 1)
		if err != nil {
			return Node{}, err
		}
		n.kids = append(n.kids, kid)
	}
	n.raw = p.data[start:p.pos]
	return n, nil
}

func (p *parser) array(start, depth int) (Node, error) {
	n := Node{Kind: Array, tree: p.tree}
	for p.more(']') {
		kid, err := p.value(depth + 1)
		if err != nil {
			return Node{}, err
		}
		n.kids = append(n.kids, kid)
	}
	n.raw = p.data[start:p.pos]
	return n, nil
}

// more steps over the opening bracket or a comma to the next member, and says
// whether there is one; at the end it steps over the closing bracket.
func (p *parser) more(end byte) bool {
	if p.data[p.pos] == '{' || p.data[p.pos] == '[' {
		p.pos++
	}
	p.space()
	if p.data[p.pos] == ',' {
		p.pos++
		p.space()
	}
	if p.data[p.pos] == end {
		p.pos++
		return false
	}
	return true
}

func (p *parser) skipString() {
	for p.pos++; p.data[p.pos] != '"'; p.pos++ {
		if p.data[p.pos] == '\\' {
			p.pos++
		}
	}
	p.pos++
}

func (p *parser) skipNumber() {
	for p.pos < len(p.data) && bytes.IndexByte([]byte("+-.eE0123456789"), p.data[p.pos]) >= 0 {
		p.pos++
	}
}
