package mapdevice

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strconv"
	"unicode"
	"unicode/utf8"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// shape is a message taken apart: a tree of values, or lines of words or cells.
type shape struct {
	Topic    string `json:"topic"` // as it is: it goes into the mapping
	Decoder  string `json:"decoder"`
	Encoding string `json:"encoding,omitempty"` // gbk, where it is that
	Wrapped  string `json:"wrapped,omitempty"`  // the whole payload is in hex or base64
	Nodes    []leaf `json:"nodes,omitempty"`
	// Lines are those of text or csv; each holds what can be chosen, in order.
	Lines  [][]word `json:"lines,omitempty"`
	Cut    bool     `json:"cut,omitempty"` // there is more
	Failed string   `json:"failed,omitempty"`
}

// leaf is a value of a tree, or what holds some.
type leaf struct {
	Pointer string `json:"p"`
	Index   []int  `json:"i,omitempty"` // which tokens of it are places in an array
	Key     string `json:"k"`           // the last of it
	Text    string `json:"v"`           // masked; of what can be chosen
	Value   bool   `json:"value"`       // it can be chosen
	Form    string `json:"w,omitempty"` // in which it holds a text
}

// word is a part of a line.
type word struct {
	Text  string `json:"v"`     // masked
	Value bool   `json:"value"` // it can be chosen; else it stands between
}

// Bounds of what is shown of one message.
const (
	maxLeaves = 400
	maxLines  = 20
	maxWords  = 60
	maxText   = 80 // characters of a value
)

// decoders are those that can be asked for; "" chooses.
var decoders = map[string]bool{"": true, "json": true, "xml": true, "csv": true, "text": true, "sparkplug": true}

// take takes a message apart by a decoder, or by the one that suits it. births are what
// Sparkplug's births said.
func take(topic string, payload []byte, decoder string, births *sparkplug.Births) shape {
	s := shape{Decoder: decoder}
	if t, ok := sparkplug.ParseTopic(topic); ok && (decoder == "" || decoder == "sparkplug") {
		s.Decoder = "sparkplug"
		s.sparkplug(t, payload, births)
		return s
	}
	payload, s.Encoding, s.Wrapped = plain(payload)
	text := decode.Strip(payload)
	if decoder == "json" || decoder == "" {
		if docs, err := decode.JSON(text, s.Encoding == "gbk"); err == nil && len(docs) > 0 && docs[0].Err == nil && (decoder == "json" || structured(&docs[0].Root)) {
			s.Decoder = "json"
			s.tree(docs[0].Root.Inside(), nil, nil)
			return s
		} else if decoder == "json" {
			s.Failed = "not_json"
			return s
		}
	}
	if decoder == "xml" || decoder == "" && bytes.HasPrefix(text, []byte("<")) {
		doc, err := decode.XML(text)
		var docs []decode.Doc
		if err == nil {
			docs, err = decode.JSON(doc, false)
		}
		if err == nil {
			s.Decoder = "xml"
			s.tree(&docs[0].Root, nil, nil)
			return s
		} else if decoder == "xml" {
			s.Failed = "not_xml"
			return s
		}
	}
	lines := decode.Lines(payload)
	if decoder == "csv" || decoder == "" && cellsOf(lines) > 1 {
		s.Decoder = "csv"
		s.cells(lines)
		return s
	}
	s.Decoder = "text"
	s.words(lines)
	return s
}

// plain is a payload as the decoders take it: out of what it is wrapped and packed in,
// in UTF-8. encoding is gbk where it was that, wrapped the form it was in, if in any.
func plain(payload []byte) (text []byte, encoding, wrapped string) {
	if form, inside := inside(string(decode.Strip(payload))); form != decode.Plain {
		payload, wrapped = inside, form.String()
	}
	if unpacked, how, err := decode.Unpack(payload, maxPayload); err == nil && how != "" {
		payload = unpacked
	}
	payload = decode.UTF8(payload)
	if !utf8.Valid(payload) {
		if text, ok := decode.GBK(payload); ok {
			return text, "gbk", wrapped
		}
	}
	return payload, "", wrapped
}

func structured(n *decode.Node) bool {
	in := n.Inside()
	return in.Kind == decode.Object || in.Kind == decode.Array
}

// tree lists the values from n on, whose pointer is p; index are the tokens of it that
// are places in an array.
func (s *shape) tree(n *decode.Node, p decode.Pointer, index []int) {
	if len(s.Nodes) >= maxLeaves {
		s.Cut = true
		return
	}
	in := n.Inside()
	l := leaf{Pointer: p.String(), Index: index}
	if len(p) > 0 {
		l.Key = p[len(p)-1]
	}
	if text, ok := in.Text(); ok {
		l.Text, l.Value = maskedOf(l.Key, text), true
		if form, _ := inside(text); form != decode.Plain {
			l.Form = form.String()
		}
	}
	s.Nodes = append(s.Nodes, l)
	for i := range in.Kids() {
		if in.Kind == decode.Object {
			s.tree(&in.Kids()[i], append(p[:len(p):len(p)], in.Keys()[i]), index)
		} else {
			s.tree(&in.Kids()[i], append(p[:len(p):len(p)], strconv.Itoa(i)), append(index[:len(index):len(index)], len(p)))
		}
	}
}

// maskedOf is a value as the page shows it.
func maskedOf(key, text string) string {
	shown := scan.MaskDigitRuns(scan.MaskNames(key, text))
	if r := []rune(shown); len(r) > maxText {
		shown = string(r[:maxText]) + "…"
	}
	return shown
}

var plainCode = regexp.MustCompile(`^[A-Z]{0,4}[0-9][A-Z0-9-]*$`)

// inside tells in which form a text holds another, as of devices that wrap their codes, and
// that one.
func inside(text string) (decode.Form, []byte) {
	if plainCode.MatchString(text) || len(text) < 12 {
		return decode.Plain, nil
	}
	if b, err := hex.DecodeString(text); err == nil && readable(b) {
		return decode.Hex, b
	}
	if b, err := base64.StdEncoding.DecodeString(text); err == nil && readable(b) {
		return decode.Base64, b
	}
	return decode.Plain, nil
}

// readable reports whether bytes are a short text, as a code is.
func readable(b []byte) bool {
	for _, r := range string(decode.Strip(b)) {
		if r > '~' || !unicode.IsPrint(r) {
			return false
		}
	}
	return len(decode.Strip(b)) >= 6
}

var cells = regexp.MustCompile(`[,;\t|]`)

// cellsOf is how many cells each line has; 0 where they have not as many.
func cellsOf(lines [][]byte) int {
	n := 0
	for i, line := range lines {
		if k := len(cells.FindAllIndex(line, -1)) + 1; i == 0 {
			n = k
		} else if k != n {
			return 0
		}
	}
	return n
}

func (s *shape) cells(lines [][]byte) {
	for i, line := range lines {
		if i == maxLines {
			s.Cut = true
			return
		}
		n := min(maxWords, len(cells.FindAllIndex(line, -1))+1)
		names := make([]string, n)
		for k := range names {
			names[k] = strconv.Itoa(k)
		}
		row, err := decode.Row(line, names)
		if err != nil {
			s.Failed = "not_csv"
			return
		}
		var out []word
		for k := range row.Kids() {
			text, _ := row.Kids()[k].Text()
			out = append(out, word{maskedOf("", text), true})
		}
		s.Lines = append(s.Lines, out)
	}
}

var words = regexp.MustCompile(`[A-Za-z0-9_-]+|[^A-Za-z0-9_-]+`)

func (s *shape) words(lines [][]byte) {
	for i, line := range lines {
		if i == maxLines {
			s.Cut = true
			return
		}
		var out []word
		for k, text := range words.FindAllString(string(line), maxWords) {
			value := text[0] == '_' || text[0] == '-' || text[0] >= '0' && text[0] <= '9' || text[0] >= 'A' && text[0] <= 'Z' || text[0] >= 'a' && text[0] <= 'z'
			if out = append(out, word{maskedOf("", text), value}); k == maxWords-1 {
				s.Cut = true
			}
		}
		s.Lines = append(s.Lines, out)
	}
}

func (s *shape) sparkplug(t sparkplug.Topic, b []byte, births *sparkplug.Births) {
	payload, err := sparkplug.Parse(b, maxPayload)
	if err != nil {
		s.Failed = "not_sparkplug"
		return
	}
	birth, _ := births.Birth(t)
	if t.Birth() {
		birth = sparkplug.BirthOf(payload)
	}
	whole, _, missing, err := payload.Tree(t, birth)
	if err != nil || missing != "" {
		s.Failed = "no_birth"
		return
	}
	s.tree(&whole, nil, nil)
}

// textsAt are the texts that a message has at a pointer in which * stands for each
// element of an array, or in a cell of each line.
func textsAt(m *message, decoder, pointer string) (texts []string) {
	p, err := decode.ParsePointer(pointer)
	if err != nil {
		return nil
	}
	payload, _, _ := plain(m.Payload)
	var roots []decode.Node
	switch decoder {
	case "csv":
		for _, line := range decode.Lines(payload) {
			names := make([]string, maxWords)
			for k := range names {
				names[k] = strconv.Itoa(k)
			}
			n := min(maxWords, len(cells.FindAllIndex(line, -1))+1)
			if row, err := decode.Row(line, names[:n]); err == nil {
				roots = append(roots, row)
			}
		}
	case "xml":
		if doc, err := decode.XML(decode.Strip(payload)); err == nil {
			payload = doc
		}
		fallthrough
	case "json":
		docs, err := decode.JSON(decode.Strip(payload), false)
		for i := 0; err == nil && i < len(docs) && docs[i].Err == nil; i++ {
			roots = append(roots, docs[i].Root)
		}
	}
	for i := range roots {
		for _, e := range roots[i].Expand(p) {
			if text, ok := e.Node.Text(); ok {
				texts = append(texts, text)
			}
		}
	}
	return texts
}
