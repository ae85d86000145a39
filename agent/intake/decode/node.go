package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
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
	Unreadable // something that its decoder cannot read; it must not count as nothing
)

// Node is one value of a decoded payload.
type Node struct {
	Kind Kind
	form Form     // of what Inside found: in which form it stood
	raw  []byte   // as it was sent; nil for nodes made by other decoders than JSON
	text string   // of a String made by another decoder, or of a Number; what an Unreadable is
	keys []string // of an Object, in the order sent
	kids []Node   // of an Object or Array
	// What Inside found, the node itself if nothing; nil: not looked for.
	inner *Node
	// Where its members are, of an Object with many; nil: not asked for.
	places map[string]int
	tree   *tree // what may be made of it; nil for nodes made by other decoders than JSON, until Together
}

// NewString returns a String node.
func NewString(s string) Node { return Node{Kind: String, text: s} }

// NewNumber returns a Number node with these digits.
func NewNumber(digits string) Node { return Node{Kind: Number, text: digits} }

// NewBool returns a Bool node.
func NewBool(b bool) Node { return Node{Kind: Bool, text: strconv.FormatBool(b)} }

// NewArray returns an Array of these elements.
func NewArray(kids []Node) Node { return Node{Kind: Array, kids: kids} }

// NewUnreadable returns an Unreadable node; what says for people what it is.
func NewUnreadable(what string) Node { return Node{Kind: Unreadable, text: what} }

// What tells for people what a value is that is no text.
func (n *Node) What() string {
	switch n.Kind {
	case Null:
		return "null"
	case Bool:
		return "true or false"
	case Number:
		return "a number"
	case String:
		return "a text that holds no JSON, not in base64 or hex either"
	case Array:
		return "an array"
	case Object:
		return "an object"
	default:
		return n.text
	}
}

// Blank reports whether there is no text, number, true or false in a value.
func (n *Node) Blank() bool {
	switch n.Kind {
	case Null:
		return true
	case String:
		text, _ := n.Text()
		return StripText(text) == ""
	case Array, Object:
		for i := range n.kids {
			if !n.kids[i].Blank() {
				return false
			}
		}
		return true
	default:
		return false
	}
}

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

// manyMembers is from when on members are looked up rather than gone through: each of
// many elements may look into the object around them.
const manyMembers = 32

// Member returns an object's member; of several with that name the last, as
// encoding/json has it.
func (n *Node) Member(key string) (*Node, bool) {
	if n.Kind != Object {
		return nil, false
	}
	if len(n.keys) > manyMembers {
		if n.places == nil {
			n.places = make(map[string]int, len(n.keys))
			for i, k := range n.keys {
				n.places[k] = i
			}
		}
		i, ok := n.places[key]
		if !ok {
			return nil, false
		}
		return &n.kids[i], true
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
	case n.Kind == Null, n.Kind == Unreadable:
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
	found, _, ok := n.FindIn(p)
	return found, ok
}

// Stuck returns the value on a pointer's way into which it cannot go, and how far
// it came: a text that holds no JSON, say. Where a member is missing, or nothing
// stands, it is not stuck: there is nothing.
func (n *Node) Stuck(p Pointer) (stuck *Node, at Pointer) {
	for i, token := range p {
		in := n.Inside()
		if !in.enterable(token) {
			return n, p[:i]
		}
		if token == "*" {
			for k := range in.kids {
				if stuck, at = in.kids[k].Stuck(p[i+1:]); stuck != nil {
					return stuck, slices.Concat(p[:i+1], at)
				}
			}
			return nil, nil
		}
		next, _, ok := in.step(token)
		if !ok {
			return nil, nil
		}
		n = next
	}
	return nil, nil
}

// enterable reports whether a value has that token or could have had it. What is
// blank has nothing, and neither can a number hold anything.
func (n *Node) enterable(token string) bool {
	switch n.Kind {
	case Object:
		return true
	case Array:
		_, err := strconv.Atoi(token)
		return token == "*" || err == nil || len(n.kids) == 0
	case Unreadable:
		return false
	default:
		return n.Kind != String || n.Blank()
	}
}

// Empty reports whether a pointer leads to an empty array, be it at its end or
// where a * stands for its elements; with null what is null at the end is one too.
func (n *Node) Empty(p Pointer, null bool) bool {
	n = n.Inside()
	switch {
	case n.Kind == Array && len(n.kids) == 0:
		return len(p) == 0 || p[0] == "*"
	case len(p) == 0:
		return null && n.Kind == Null
	case p[0] != "*":
		next, _, ok := n.step(p[0])
		return ok && next.Empty(p[1:], null)
	}
	return slices.ContainsFunc(n.kids, func(kid Node) bool { return kid.Empty(p[1:], null) })
}

// FindIn is Find, and tells the form of the last wrapped value on the way, for a
// value that Find finds.
func (n *Node) FindIn(p Pointer) (found *Node, form Form, ok bool) {
	for _, token := range p {
		next, within, ok := n.step(token)
		if !ok {
			return nil, Plain, false
		}
		n, form = next, max(form, within)
	}
	return n, form, true
}

// step goes to a member; where a value has none, to that of the JSON inside it.
func (n *Node) step(token string) (next *Node, form Form, ok bool) {
	if next, ok := n.own(token); ok {
		return next, Plain, true
	}
	in := n.Inside()
	if in == n {
		return nil, Plain, false
	}
	next, ok = in.own(token)
	return next, in.form, ok
}

func (n *Node) own(token string) (*Node, bool) {
	if n.Kind != Array {
		return n.Member(token)
	}
	i, err := strconv.Atoi(token)
	if err != nil || i < 0 || i >= len(n.kids) || strconv.Itoa(i) != token {
		return nil, false
	}
	return &n.kids[i], true
}

// Element is one element that Expand found.
type Element struct {
	Node *Node
	// Around holds the values on the way to it, the innermost first; the
	// last is where Expand began.
	Around []*Node
	// Keys are what each * stood for: a member's name, or an index.
	Keys []string
	// Form is that of the last wrapped value on the way.
	Form Form
}

// Expand follows a pointer in which * stands for every element, and returns the
// elements of the arrays that it ends at. Something other than an array at the
// end counts as the only element, and so do bytes; what is missing yields none.
func (n *Node) Expand(p Pointer) []Element { return expand(nil, Element{Node: n}, p) }

// goesInside reports whether a pointer goes on in the JSON inside a value: not where
// the value has the member itself, nor where it ends at what may be base64 or hex by
// chance.
func (n *Node) goesInside(in *Node, p Pointer) bool {
	if len(p) > 0 {
		_, own := n.own(p[0])
		return !own
	}
	return in.Kind == Array && (in.form == Plain || len(in.kids) > 0 && in.kids[0].Kind >= String)
}

func expand(out []Element, e Element, p Pointer) []Element {
	if in := e.Node.Inside(); in != e.Node && e.Node.goesInside(in, p) {
		e = Element{in, push(e.Node, e.Around), e.Keys, max(e.Form, in.form)}
	}
	n := e.Node
	inner := Element{Around: push(n, e.Around), Keys: e.Keys, Form: e.Form}
	if len(p) == 0 {
		if _, bytes := n.Bytes(); n.Kind != Array || bytes {
			return append(out, e)
		}
		for i := range n.kids {
			inner.Node = &n.kids[i]
			out = append(out, inner)
		}
		return out
	}
	if p[0] == "*" {
		for i := range n.kids {
			key := strconv.Itoa(i)
			if n.Kind == Object {
				key = n.keys[i]
			}
			inner.Node, inner.Keys = &n.kids[i], append(e.Keys[:len(e.Keys):len(e.Keys)], key)
			out = expand(out, inner, p[1:])
		}
		return out
	}
	if next, ok := n.own(p[0]); ok {
		inner.Node = next
		out = expand(out, inner, p[1:])
	}
	return out
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
		switch {
		case outer.inner == child && child != outer: // it holds JSON in one form or another
			b.Write(quote(string(out)))
		case outer.Kind == Array:
			b.WriteByte('[')
			b.Write(out)
			b.WriteByte(']')
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
