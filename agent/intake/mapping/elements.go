package mapping

import (
	"bytes"
	"errors"
	"slices"
	"unicode/utf8"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// element is one part of a message that may hold a read.
type element struct {
	index   int
	alone   bool           // it is the only one of its message
	trigger int            // elements of one are what a device read at one moment
	node    *decode.Node   // nil if it could not be decoded
	keys    []string       // what each * of split stood for
	around  []*decode.Node // what else its fields are looked for in, the innermost first
	raw     []byte         // as it was sent, as far as that can be told
	proven  string         // why it is no read if it has no waybill number; "": that may be a mistake
	lost    bool           // split leads to nothing: this is the whole document
	mended  string         // what had to be mended before it was JSON
}

// elements decodes the message. Elements that can't be decoded on their own are
// rejected here; a problem concerns the whole message.
func (j *job) elements() ([]element, *problem) {
	switch j.src.decoder {
	case "text":
		return together(j.textElements())
	case "csv":
		return together(j.csvElements())
	case "sparkplug":
		return together(j.sparkplugElements())
	default:
		return j.jsonElements()
	}
}

// together bounds what the elements of a message wrap, all together.
func together(out []element, bad *problem) ([]element, *problem) {
	var nodes []*decode.Node
	for i := range out {
		nodes = append(append(nodes, out[i].node), out[i].around...)
	}
	decode.Together(nodes...)
	return out, bad
}

// tooMany is the problem of a message with more reads than one may have.
func tooMany() *problem {
	return problemf("too_many", "more than %d reads in one message: let the device send smaller batches", maxReads)
}

func (j *job) textElements() (out []element, bad *problem) {
	for i, line := range decode.Lines(j.payload) {
		parts := [][]byte{line}
		if j.src.between != nil {
			var ok bool
			if parts, ok = decode.Parts(line, j.src.between); !ok {
				return nil, tooMany()
			}
		}
		for _, part := range parts {
			if len(out) == maxReads {
				return nil, tooMany()
			}
			n := decode.NewString(string(part))
			out = append(out, element{index: len(out), trigger: i, node: &n, raw: part})
		}
	}
	if len(out) == 1 {
		out[0].alone = true
	}
	return out, nil
}

func (j *job) csvElements() (out []element, bad *problem) {
	lines := decode.Lines(j.payload)
	if len(lines) > maxReads+1 { // one may be the header
		return nil, tooMany()
	}
	for i, line := range lines {
		el := element{index: i, alone: len(lines) == 1, trigger: i, raw: line}
		n, err := decode.Row(line, j.src.columns)
		switch {
		case err != nil:
			j.badLine(&el, problemf("not_csv", "line %d is no CSV: %s", i+1, err))
		case header(n):
			j.ignore(&el, "it is the header line")
		default:
			el.node = &n
			out = append(out, el)
		}
	}
	return out, nil
}

// badLine rejects a line that can't be decoded, unless it is to be ignored.
func (j *job) badLine(el *element, bad *problem) {
	if matchesAny(j.src.ignore, el.raw) {
		j.ignore(el, "it matches ignore")
		return
	}
	j.reject(el, bad)
}

// header reports whether a row holds its own columns' names.
func header(n decode.Node) bool {
	for i, key := range n.Keys() {
		if text, _ := n.Kids()[i].Text(); text != key {
			return false
		}
	}
	return len(n.Keys()) > 0
}

func (j *job) jsonElements() ([]element, *problem) {
	text, err := decode.Strip(j.payload), error(nil)
	if j.src.decoder == "xml" && !j.info.part { // a part is kept as JSON
		text, err = decode.XML(text)
	}
	var docs []decode.Doc
	if err == nil {
		docs, err = decode.JSON(text, j.src.gbk)
	}
	switch {
	case errors.Is(err, decode.ErrTooLarge):
		return nil, problemf("too_large", "%s: let the device send smaller messages", err)
	case j.src.decoder == "xml" && err != nil:
		return nil, problemf("not_xml", "%s: the decoder of %s must be what the device sends, and its encoding gbk if that is GBK", err, j.src.name())
	case err != nil && !utf8.Valid(j.payload):
		return nil, problemf("not_json", "%s, and not UTF-8: %s; if it sends bare text, that source needs decoder text", err, j.src.gbkHint())
	case err != nil:
		return nil, problemf("not_json", "%s: if the device sends bare text, %s needs decoder text", err, j.src.name())
	}
	var out []element
	index := 0
	for i := range docs {
		if docs[i].Err != nil {
			j.badLine(&element{index: index, raw: docs[i].Raw}, problemf("not_json", "line %d is %s", i+1, docs[i].Err))
			index++
			continue
		}
		reads := j.split(&docs[i].Root)
		for _, e := range reads {
			out = append(out, element{
				index: index, trigger: i, node: e.Node, keys: e.Keys, around: e.Around, raw: e.Node.Raw(), mended: docs[i].Mended,
			})
			index++
		}
		if len(reads) == 0 && j.src.splits {
			out = append(out, j.unsplit(index, &docs[i].Root))
			index++
		}
	}
	if len(out) == 1 && index == 1 {
		out[0].alone = true
	}
	return out, nil
}

// unsplit is a document in which split finds no element: that is no read where it
// leads to an empty array.
func (j *job) unsplit(index int, root *decode.Node) element {
	el := element{index: index, node: root, raw: root.Raw(), lost: true}
	docs := []decode.Node{*root}
	if j.splitsEach(root) {
		docs = root.Kids()
	}
	for i := range docs {
		if docs[i].Empty(j.src.split, true) {
			el.proven = "there is no read in it"
		}
	}
	return el
}

// splitsEach reports whether a document is an array of such as split is for.
func (j *job) splitsEach(root *decode.Node) bool {
	return root.Kind == decode.Array && len(j.src.split) > 0 && j.src.split[0] != "*"
}

// split finds the elements of one document. Without split an array's elements
// count, also those of arrays in it.
func (j *job) split(root *decode.Node) []decode.Element {
	if !j.src.splits {
		return flatten(nil, root.Inside(), nil)
	}
	var out []decode.Element
	if j.splitsEach(root) {
		for i := range root.Kids() {
			out = append(out, root.Kids()[i].Expand(j.src.split)...)
		}
	} else {
		out = root.Expand(j.src.split)
	}
	if j.src.rules[fieldWaybill].kind == ruleKey {
		return out // what stands under the number does not matter
	}
	return slices.DeleteFunc(out, func(e decode.Element) bool { return e.Node.Kind == decode.Null })
}

func flatten(out []decode.Element, n *decode.Node, around []*decode.Node) []decode.Element {
	_, bytes := n.Bytes()
	switch {
	case n.Kind == decode.Null:
		return out
	case n.Kind == decode.Array && !bytes:
		around = append([]*decode.Node{n}, around...)
		for i := range n.Kids() {
			out = flatten(out, &n.Kids()[i], around)
		}
		return out
	default:
		return append(out, decode.Element{Node: n, Around: around})
	}
}

// sparkplugElements reads data messages; births are remembered and, like deaths
// and commands, hold no read.
func (j *job) sparkplugElements() ([]element, *problem) {
	topic, ok := sparkplug.ParseTopic(j.topic)
	if !ok {
		return nil, problemf("not_sparkplug", "the topic is none of Sparkplug B: want spBv1.0/<group>/<type>/<node>/<device>")
	}
	data := topic.Type == "NDATA" || topic.Type == "DDATA"
	switch topic.Type {
	case "NDATA", "DDATA", "NBIRTH", "DBIRTH", "DDEATH":
	case "NDEATH", "NCMD", "DCMD", "STATE":
		return nil, nil
	default:
		return nil, problemf("not_sparkplug", "the topic says %s, which is no kind of message that Sparkplug B has", shown(topic.Type))
	}
	if j.info.again && j.payload[0] == '{' {
		return j.moment()
	}
	payload, err := sparkplug.Parse(j.payload, j.maxPayload)
	if err != nil && topic.Type == "DDEATH" {
		return nil, nil
	}
	if err != nil {
		return nil, problemf("not_sparkplug", "%s", err)
	}
	j.sparkplugHeard(topic, payload)
	if !data {
		return nil, nil
	}
	return j.metrics(topic, payload)
}

// moment reads one of several moments of a message as the quarantine holds it:
// as JSON, which no Sparkplug payload can be.
func (j *job) moment() ([]element, *problem) {
	docs, err := decode.JSON(j.payload, false)
	if err != nil {
		return nil, problemf("not_json", "%s", err)
	}
	return []element{{alone: true, node: &docs[0].Root, raw: j.payload}}, nil
}

// sparkplugHeard follows the sequence numbers and remembers births. Of an edge
// node of which the source takes only a part the numbers say nothing.
func (j *job) sparkplugHeard(t sparkplug.Topic, payload sparkplug.Payload) {
	births := j.m.births
	if j.trace != nil || j.info.again {
		return // explaining changes nothing, and what is replayed is old
	}
	node := []string{"spBv1.0", t.Group, "NDATA", t.Node}
	device := []string{"spBv1.0", t.Group, "DDATA", t.Node, "\x00"}
	if payload.HasSeq && !j.info.DUP && !j.info.Retained && j.src.filter.Match(node) && j.src.filter.Match(device) {
		births.Sequence(t, payload.Seq)
	}
	if t.Birth() {
		births.SetBirth(t, sparkplug.BirthOf(payload))
	}
}

func (j *job) metrics(topic sparkplug.Topic, payload sparkplug.Payload) ([]element, *problem) {
	birth, known := j.m.births.Birth(topic)
	whole, reads, missing, err := payload.Tree(topic, birth)
	if err != nil {
		return nil, problemf("too_large", "%s: let the device send smaller messages", err)
	}
	if j.trace == nil {
		j.m.births.Read(topic, birth, missing == "")
	}
	switch {
	case missing != "" && !known:
		return nil, problemf("no_birth", "alias %s of %s: its birth message has not been seen; it is asked for a rebirth, after which this can be replayed", missing, topic.Source())
	case missing != "":
		return nil, problemf("no_birth", "alias %s is not in the birth message of %s; it is asked for a rebirth, after which this can be replayed", missing, topic.Source())
	case payload.Body != "" && len(payload.Metrics) == 0:
		return nil, problemf(scan.NoWaybill, "it has %s, which is not read", payload.Body)
	}
	proven := ""
	switch r := j.src.rules[fieldWaybill]; {
	case payload.Body != "": // the number may be there
	case len(payload.Metrics) == 0:
		proven = "it has no metric"
	case r.kind == rulePointer && birth.Names(r.pointer):
		proven = "its birth names " + r.String() + ", and this message does not bring it"
	}
	out := make([]element, len(reads))
	for i := range reads {
		out[i] = element{
			index: i, alone: len(reads) == 1, node: &reads[i], around: []*decode.Node{&whole}, raw: reads[i].Raw(), proven: proven,
		}
	}
	return out, nil
}

// byteOrderMark says that a text is in UTF-8, whatever encoding its source has.
const byteOrderMark = "\ufeff"

// toUTF8 returns the payload in UTF-8: from UTF-16 where its byte order mark says
// so, from GBK where the source does, else as it is. Nothing is guessed: bytes that
// could be both are not rare ("联通" in GBK is valid UTF-8).
func (j *job) toUTF8() *problem {
	text := decode.UTF8(j.payload)
	switch {
	case !j.src.gbk, len(text) != len(j.payload), bytes.HasPrefix(text, []byte(byteOrderMark)):
		j.payload = text
		return nil
	}
	text, ok := decode.GBK(text)
	if !ok {
		return problemf("not_gbk", "it is not GBK: if the device sends UTF-8, take encoding out of %s", j.src.name())
	}
	j.payload = text
	return nil
}

// inUTF8 marks a part of a message that was converted, so that it is not
// converted again when it is replayed.
func (j *job) inUTF8(part []byte) []byte {
	if !j.src.gbk || len(part) == 0 {
		return part
	}
	return append([]byte(byteOrderMark), part...)
}

// gbkHint tells whoever maps a device that sends what is no UTF-8.
func (s *source) gbkHint() string {
	if s.gbk {
		return "set the device to UTF-8 or GBK"
	}
	return "if the device sends GBK, give " + s.name() + " encoding: gbk"
}
