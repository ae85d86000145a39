package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what a Node is.
type Kind uint8

// The kinds of JSON; other decoders use the same.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Node is one value of a decoded payload.
type Node struct {
	Kind Kind
	raw  []byte   // as it was sent; nil for nodes made by other decoders than JSON
	text string   // of a String made by another decoder, or of a Number
	keys []string // of an Object, in the order sent
	kids []Node   // of an Object or Array; of a String what Inside found, empty if nothing
}

// NewString returns a String node.
func NewString(s string) Node { return Node{Kind: String, text: s} }

// NewNumber returns a Number node with these digits.
func NewNumber(digits string) Node { return Node{Kind: Number, text: digits} }

// NewBool returns a Bool node.
func NewBool(b bool) Node { return Node{Kind: Bool, text: strconv.FormatBool(b)} }

// NewObject returns an Object with these members; keys and kids are as long as
// each other.
func NewObject(keys []string, kids []Node) Node {
	return Node{Kind: Object, keys: keys, kids: kids}
}

// Text returns a scalar as text. A number keeps its digits; an integer written
// with an exponent or a zero fraction is written out. False for null, arrays
// and objects.
func (n *Node) Text() (string, bool) {
	switch n.Kind {
	case Bool:
		if n.raw != nil {
			return string(n.raw), true
		}
		return n.text, true
	case Number:
		if n.raw != nil {
			return Digits(string(n.raw)), true
		}
		return n.text, true
	case String:
		if n.raw != nil {
			return unquote(n.raw), true
		}
		return n.text, true
	default:
		return "", false
	}
}

// Kids returns an array's elements, or an object's values in the order sent.
func (n *Node) Kids() []Node { return n.kids }

// Keys returns an object's keys in the order sent.
func (n *Node) Keys() []string { return n.keys }

// Member returns an object's member; of several with that name the last, as
// encoding/json has it.
func (n *Node) Member(key string) (*Node, bool) {
	if n.Kind != Object {
		return nil, false
	}
	for i := len(n.keys) - 1; i >= 0; i-- {
		if n.keys[i] == key {
			return &n.kids[i], true
		}
	}
	return nil, false
}

// Raw returns the value as JSON: what was sent where it was JSON.
func (n *Node) Raw() []byte {
	if n.raw != nil {
		return n.raw
	}
	var b bytes.Buffer
	n.write(&b)
	return b.Bytes()
}

func (n *Node) write(b *bytes.Buffer) {
	switch {
	case n.raw != nil:
		b.Write(n.raw)
	case n.Kind == Object:
		b.WriteByte('{')
		for i := range n.kids {
			comma(b, i)
			b.Write(quote(n.keys[i]))
			b.WriteByte(':')
			n.kids[i].write(b)
		}
		b.WriteByte('}')
	case n.Kind == Array:
		b.WriteByte('[')
		for i := range n.kids {
			comma(b, i)
			n.kids[i].write(b)
		}
		b.WriteByte(']')
	case n.Kind == String:
		b.Write(quote(n.text))
	case n.Kind == Null:
		b.WriteString("null")
	default:
		b.WriteString(n.text)
	}
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

// quote can't fail: a string is always encodable.
func quote(s string) []byte {
	q, _ := json.Marshal(s)
	return q
}

// unquote reads a valid JSON string; invalid UTF-8 becomes U+FFFD.
func unquote(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return string(inner)
	}
	return s
}

// Pointer is a parsed JSON pointer (RFC 6901). The token * stands for every
// element where Expand is used, and for a key of that name elsewhere.
type Pointer []string

// ParsePointer reads a JSON pointer: "" is the whole value, any other begins
// with a slash. The error says what is wrong with it as a predicate.
func ParsePointer(s string) (Pointer, error) {
	if s == "" {
		return Pointer{}, nil
	}
	if s[0] != '/' {
		return nil, fmt.Errorf("%q is no JSON pointer; begin it with /, as in /data/barcode", s)
	}
	tokens := strings.Split(s[1:], "/")
	for i, t := range tokens {
		if strings.Contains(escapes.Replace(t), "~") {
			return nil, fmt.Errorf("%q is no JSON pointer: ~ must be written ~0 and a / within a name ~1", s)
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return tokens, nil
}

// escapes takes what a token may have after ~ out of it.
var escapes = strings.NewReplacer("~0", "", "~1", "")

// String returns the pointer as it is written.
func (p Pointer) String() string {
	var b strings.Builder
	for _, t := range p {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(t, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// Find follows the pointer from n.
func (n *Node) Find(p Pointer) (*Node, bool) {
	for _, token := range p {
		next, ok := n.step(token)
		if !ok {
			return nil, false
		}
		n = next
	}
	return n, true
}

func (n *Node) step(token string) (*Node, bool) {
	n = n.inside()
	if n.Kind != Array {
		return n.Member(token)
	}
	i, err := strconv.Atoi(token)
	if err != nil || i < 0 || i >= len(n.kids) || strconv.Itoa(i) != token {
		return nil, false
	}
	return &n.kids[i], true
}

// inside is the JSON that a String holds as a text, as gateways wrap what their
// devices send; n itself where there is none.
func (n *Node) inside() *Node {
	if n.Kind != String {
		return n
	}
	if n.kids == nil {
		n.kids = wrapped(n)
	}
	if len(n.kids) == 0 {
		return n
	}
	return &n.kids[0]
}

// wrapped reads a String as an object or an array; empty if it is none. It has a
// bound of its own, and all that a payload wraps is no longer than the payload.
func wrapped(n *Node) []Node {
	text, _ := n.Text()
	data := Strip([]byte(text))
	if len(data) == 0 || data[0] != '{' && data[0] != '[' || !json.Valid(data) {
		return []Node{}
	}
	budget := maxNodes
	p := parser{data: data, left: &budget}
	root, err := p.value(0)
	if err != nil {
		return []Node{}
	}
	return []Node{root}
}

// Element is one element that Expand found.
type Element struct {
	Node *Node
	// Around holds the values on the way to it, the innermost first; the
	// last is where Expand began.
	Around []*Node
}

// Expand follows a pointer in which * stands for every element, and returns the
// elements of the arrays that it ends at. Something other than an array at the
// end counts as the only element; what is missing or null yields none.
func (n *Node) Expand(p Pointer) []Element { return expand(nil, n, p, nil) }

func expand(out []Element, n *Node, p Pointer, around []*Node) []Element {
	if in := n.inside(); in != n && (len(p) > 0 || in.Kind == Array) {
		n, around = in, push(n, around)
	}
	if len(p) == 0 {
		if n.Kind != Array {
			return one(out, n, around)
		}
		around = push(n, around)
		for i := range n.kids {
			out = one(out, &n.kids[i], around)
		}
		return out
	}
	around = push(n, around)
	if p[0] == "*" {
		for i := range n.kids {
			out = expand(out, &n.kids[i], p[1:], around)
		}
		return out
	}
	if next, ok := n.step(p[0]); ok {
		out = expand(out, next, p[1:], around)
	}
	return out
}

func one(out []Element, n *Node, around []*Node) []Element {
	if n.Kind == Null {
		return out
	}
	return append(out, Element{n, around})
}

// push returns a new slice: siblings share what is around them.
func push(n *Node, around []*Node) []*Node {
	return append([]*Node{n}, around...)
}

// Apart returns JSON of n with the objects around it, the innermost first as
// Expand has them, but without its siblings in arrays. Where only arrays are
// around it, it is n.
func Apart(n *Node, around []*Node) []byte {
	out := n.Raw()
	child := n
	objects := false
	for _, outer := range around {
		objects = objects || outer.Kind != Array
	}
	if !objects {
		return out
	}
	for _, outer := range around {
		var b bytes.Buffer
		switch outer.Kind {
		case Array:
			b.WriteByte('[')
			b.Write(out)
			b.WriteByte(']')
		case String: // that holds JSON
			b.Write(quote(string(out)))
		default:
			outer.writeWith(&b, child, out)
		}
		out, child = b.Bytes(), outer
	}
	return out
}

// writeWith writes an object with other JSON in the place of one of its kids.
func (n *Node) writeWith(b *bytes.Buffer, kid *Node, other []byte) {
	b.WriteByte('{')
	for i := range n.kids {
		comma(b, i)
		b.Write(quote(n.keys[i]))
		b.WriteByte(':')
		if &n.kids[i] == kid {
			b.Write(other)
		} else {
			b.Write(n.kids[i].Raw())
		}
	}
	b.WriteByte('}')
}
