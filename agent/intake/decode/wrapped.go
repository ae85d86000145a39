package decode

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Form is how bytes stand in a value.
type Form uint8

// The forms in which gateways wrap what their devices send.
const (
	Plain  Form = iota // as a text
	Base64             // the standard or the URL alphabet
	Hex
	Array8 // an array of bytes, as JavaScript prints a buffer
)

// String is the form's name, as configurations have it.
func (f Form) String() string {
	return [...]string{"plain", "base64", "hex", "bytes"}[f]
}

// Decode returns the bytes that a text holds in this form.
func (f Form) Decode(s string) ([]byte, error) {
	switch f {
	case Base64:
		return fromBase64(s)
	case Hex:
		return fromHex(s)
	default:
		return []byte(s), nil
	}
}

// tree is what may still be made of one payload, however much of it is wrapped.
type tree struct {
	nodes int
	bytes int  // that come out of what is packed
	gbk   bool // bytes that are no UTF-8 are in GBK
}

// maxUnpacked bounds what comes out of all that is packed within one payload.
const maxUnpacked = 4 << 20

func newTree(gbk bool) *tree { return &tree{nodes: maxNodes, bytes: maxUnpacked, gbk: gbk} }

// Together bounds what is made of values of one payload that another decoder than JSON
// has read, as if they were one: each by itself may wrap as much as a whole payload.
func Together(values ...*Node) {
	t := &tree{nodes: maxNodes} // what is packed in them stays so
	for _, n := range values {
		n.join(t)
	}
}

func (n *Node) join(t *tree) {
	if n.tree != nil {
		return // it came as JSON
	}
	n.tree = t
	for i := range n.kids {
		n.kids[i].join(t)
	}
}

// Inside is the JSON that a value holds as a text, in base64, in hex or as bytes,
// packed or not; the value itself where it holds none. A text that by chance is
// base64 or hex is never JSON.
func (n *Node) Inside() *Node {
	if n.inner == nil {
		if n.inner = n.unwrap(); n.inner == nil {
			n.inner = n
		}
	}
	return n.inner
}

func (n *Node) unwrap() *Node {
	if b, ok := n.Bytes(); ok {
		return n.jsonOf(b, Array8)
	}
	if n.Kind != String {
		return nil
	}
	text, _ := n.Text()
	if in := n.jsonOf([]byte(text), Plain); in != nil {
		return in
	}
	// An object or an array in hex begins with 5b or 7b.
	if b, err := fromHex(text); err == nil {
		return n.jsonOf(b, Hex)
	}
	if b, err := fromBase64(text); err == nil {
		return n.jsonOf(b, Base64)
	}
	return nil
}

// jsonOf reads bytes as an object or an array; nil if they are none.
func (n *Node) jsonOf(b []byte, form Form) *Node {
	t := n.tree
	if t == nil {
		t = &tree{nodes: maxNodes} // a value by itself
	}
	plain, how, err := Unpack(b, t.bytes)
	if t.bytes -= len(plain); err != nil {
		return nil
	} else if how != "" {
		b = plain
	}
	if b = Strip(b); len(b) == 0 {
		return nil
	}
	if b[0] == '"' && json.Valid(b) { // a text that was made JSON twice
		text := Node{Kind: String, raw: b, tree: t}
		if in := text.unwrap(); in != nil {
			in.form = max(in.form, form)
			return in
		}
		return nil
	}
	if b[0] != '{' && b[0] != '[' {
		return nil
	}
	if t.gbk && !utf8.Valid(b) {
		b, _ = GBK(b)
	}
	if !json.Valid(b) {
		values, ok := mend(b)
		if !ok || len(values) != 1 {
			return nil
		}
		b = values[0].json
	}
	p := parser{data: b, tree: t}
	root, err := p.value(0)
	if err != nil {
		return nil
	}
	root.form = form
	return &root
}

// Bytes returns the bytes that an array of them holds: numbers from -128 to 255, by
// itself, as {"type":"Buffer","data":[…]} or as {"0":89,"1":84,…}.
func (n *Node) Bytes() ([]byte, bool) {
	switch n.Kind {
	case Array:
		return bytesOf(n.kids)
	case Object:
		if kind, ok := n.Member("type"); ok && len(n.keys) == 2 {
			if text, _ := kind.Text(); text == "Buffer" {
				if data, ok := n.Member("data"); ok {
					return data.Bytes()
				}
			}
		}
		for i, key := range n.keys {
			if key != strconv.Itoa(i) {
				return nil, false
			}
		}
		return bytesOf(n.kids)
	default:
		return nil, false
	}
}

func bytesOf(kids []Node) ([]byte, bool) {
	b := make([]byte, len(kids))
	for i := range kids {
		if kids[i].Kind != Number {
			return nil, false
		}
		text, _ := kids[i].Text()
		v, err := strconv.Atoi(text)
		if err != nil || v < -128 || v > 255 {
			return nil, false
		}
		b[i] = byte(v)
	}
	return b, len(b) >= minBytes
}

// minBytes is how many numbers at least are taken for bytes: fewer are more likely
// to be numbers.
const minBytes = 4

// fromBase64 reads the standard and the URL alphabet, with or without padding,
// blanks and line ends within, and behind "data:…;base64,".
func fromBase64(s string) ([]byte, error) {
	if _, data, ok := strings.Cut(s, ";base64,"); ok && strings.HasPrefix(s, "data:") {
		s = data
	}
	s = strings.Join(strings.Fields(s), "")
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	b, err := base64.RawStdEncoding.DecodeString(s)
	var at base64.CorruptInputError
	if errors.As(err, &at) {
		return nil, errors.New("it has a character or a length that base64 has not")
	}
	return b, err
}

// hexMarks is what stands between or before the bytes of a hex text.
var hexMarks = strings.NewReplacer("0x", "", "0X", "", `\x`, "", " ", "", "\t", "", "\r", "", "\n", "", ":", "", "-", "", ",", "")

// fromHex reads bytes in hex, in either case, with blanks, colons, commas, dashes or
// 0x between them or not.
func fromHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(hexMarks.Replace(s))
	if err != nil || len(b) == 0 {
		return nil, errors.New("it has a character or a length that hex has not")
	}
	return b, nil
}
