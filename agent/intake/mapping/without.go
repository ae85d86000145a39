package mapping

import (
	"fmt"
	"regexp"
	"strings"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// What is done with an element that has no waybill number. Acknowledging a message
// that only looks empty loses a scan, so only these are ignored: what holds nothing
// at all, what leads to an empty array, what stands beside others that have the
// field, and a Sparkplug message without a metric that its birth names. Where the
// field is nowhere in a message, the pointer may be wrong: the message is kept.

// without sorts an element at whose waybill field there is nothing.
func (s *sorter) without(el *element) {
	p, why := s.stuck(el)
	if proven := s.proven(el); proven != "" {
		p, why = nil, proven
	}
	switch {
	case p != nil:
		s.found = true
		s.broken(el, p)
	case why != "":
		s.found = true
		s.ignore(el, why)
	default:
		s.vacant = append(s.vacant, vacancy{el, "it has no waybill number at " + s.src.rules[fieldWaybill].String()})
	}
}

// proven tells why an element without the field is certainly no read; "" if that
// is not certain.
func (j *job) proven(el *element) string {
	if r := j.src.rules[fieldWaybill]; el.proven == "" && r.kind == rulePointer && !el.lost {
		for _, n := range el.places() {
			if j.leadsToNone(n, r.pointer) {
				return "there is no read in it"
			}
		}
	}
	return el.proven
}

// places are where an element's fields are looked for, but for the arrays that
// hold it.
func (el *element) places() []*decode.Node {
	places := []*decode.Node{el.node}
	for _, n := range el.around {
		if n.Kind == decode.Object {
			places = append(places, n)
		}
	}
	return places
}

func (j *job) leadsToNone(n *decode.Node, p decode.Pointer) bool {
	if j.src.decoder == "sparkplug" {
		return sparkplug.Empty(n, p)
	}
	return n.Empty(p, false)
}

// stuck tells that the way to the number ends in something that is neither nothing
// nor can be gone into, such as a text; why is set if that says that nothing was
// read.
func (j *job) stuck(el *element) (p *problem, why string) {
	r := j.src.rules[fieldWaybill]
	switch {
	case el.lost:
		r.kind, r.pointer = rulePointer, j.src.split
	case r.kind != rulePointer:
		return nil, ""
	}
	for _, n := range el.places() {
		stuck, at := n.Stuck(r.pointer)
		if j.src.decoder == "sparkplug" {
			stuck, at = sparkplug.Stuck(n, r.pointer)
		}
		if stuck == nil {
			continue
		}
		text, _ := stuck.Text()
		switch {
		case noRead.MatchString(decode.StripText(text)):
			return nil, "the scanner read nothing"
		case stuck.Kind == decode.Unreadable:
			return unreadable(pathOf(at), stuck), ""
		case stuck.Kind == decode.Array:
			return problemf(scan.NoWaybill, "nothing at %s: at %s stands an array; write %s/* for its elements in %s",
				r, pathOf(at), at, j.src.name()), ""
		}
		return problemf(scan.NoWaybill, "nothing at %s: at %s stands %s; mend the pointer in %s, or how it is decoded",
			r, pathOf(at), stuck.What(), j.src.name()), ""
	}
	return nil, ""
}

// pathOf names a place for people; the empty pointer is the whole.
func pathOf(p decode.Pointer) string {
	if len(p) == 0 {
		return "the top"
	}
	return p.String()
}

// blank reports whether the vacant elements' documents hold nothing at all.
func (s *sorter) blank() bool {
	var last *decode.Node
	for _, v := range s.vacant {
		whole := outermost(v.el)
		if whole != last && !whole.Blank() {
			return false
		}
		last = whole
	}
	return true
}

func outermost(el *element) *decode.Node {
	if n := len(el.around); n > 0 {
		return el.around[n-1]
	}
	return el.node
}

// noWaybill says what was looked for, what is there, and what makes an end of it.
func (j *job) noWaybill(v vacancy) *problem {
	where := "at " + j.src.rules[fieldWaybill].String()
	if v.el.lost {
		where = "at " + j.src.split.String() + ", where split looks for reads"
	}
	there := "no member at all"
	if names := namesIn(v.el.node); len(names) > 0 {
		there = strings.Join(names, ", ")
	}
	ignore := "an expression under ignore that only they match"
	if text := ignoreFor(v.el); text != "" {
		ignore = "ignore: ['" + text + "']"
	}
	return problemf(scan.NoWaybill, "no waybill number %s; there is %s: let fields.waybill_id of %s point to it; if such messages are no reads, give it %s",
		where, there, j.src.name(), ignore)
}

// maxNames bounds how many members are named.
const maxNames = 8

func namesIn(n *decode.Node) (names []string) {
	for i, key := range n.Keys() {
		if i == maxNames {
			return append(names, "…")
		}
		names = append(names, "/"+shown(key))
	}
	return names
}

// kinds are members in which devices say what a message is.
var kinds = []string{"type", "event", "eventType", "event_type", "msgType", "msg_type", "messageType", "kind", "cmd", "action", "method", "status", "state"}

// ignoreFor is an expression for ignore that matches messages of this one's kind;
// "" where it does not say what kind it is.
func ignoreFor(el *element) string {
	for _, n := range append([]*decode.Node{el.node}, el.around...) {
		for _, name := range kinds {
			m, ok := n.Member(name)
			if !ok || m.Kind != decode.String {
				continue
			}
			if text, _ := m.Text(); text != "" && len(text) <= 40 && text == scan.MaskDigitRuns(text) {
				return fmt.Sprintf(`"%s"\s*:\s*"%s"`, name, regexp.QuoteMeta(text))
			}
		}
	}
	return ""
}
