package mapping

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"scanrelay/agent/intake/decode"
)

// ruleKind is where a field's value comes from.
type ruleKind uint8

const (
	ruleNone    ruleKind = iota
	rulePointer          // in the payload
	ruleTopic            // a level of the topic
	ruleLiteral          // in the configuration
)

// rule tells where one field comes from.
type rule struct {
	kind    ruleKind
	pointer decode.Pointer
	level   int
	literal string
	implied bool // not configured: looked for under its canonical name
}

// String names the place for people.
func (r rule) String() string {
	switch r.kind {
	case rulePointer:
		return r.pointer.String()
	case ruleTopic:
		return fmt.Sprintf("topic[%d]", r.level)
	case ruleLiteral:
		return "=" + r.literal
	default:
		return "nowhere"
	}
}

var topicRule = regexp.MustCompile(`^topic\[([0-9]{1,3})\]$`)

func parseRule(text string) (rule, error) {
	if literal, ok := strings.CutPrefix(text, "="); ok {
		return rule{kind: ruleLiteral, literal: literal}, nil
	}
	if m := topicRule.FindStringSubmatch(text); m != nil {
		level, err := strconv.Atoi(m[1])
		return rule{kind: ruleTopic, level: level}, err
	}
	if strings.HasPrefix(text, "topic") {
		return rule{}, fmt.Errorf("%q is no topic level; write one as topic[1], the first is topic[0]", text)
	}
	p, err := decode.ParsePointer(text)
	if err != nil {
		return rule{}, fmt.Errorf("%w (or write topic[N] or =text)", err)
	}
	return rule{kind: rulePointer, pointer: p}, nil
}

// imply gives the fields that are not configured their canonical names. With
// fields configured event_id is left out: what other devices call so is often no
// id at all, and a wrong one makes two scans one.
func (s *source) imply(configured bool) {
	for f := range numFields {
		if s.rules[f].kind != ruleNone || s.decoder == "text" && f != fieldWaybill || configured && f == fieldEventID {
			continue
		}
		s.rules[f] = rule{kind: rulePointer, pointer: decode.Pointer{f.String()}, implied: true}
		if s.decoder == "text" {
			s.rules[f].pointer = decode.Pointer{}
		}
	}
}
