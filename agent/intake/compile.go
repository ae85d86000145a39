package intake

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/topic"
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

// source is a compiled Mapping; it never changes.
type source struct {
	index   int
	filter  topic.Filter
	decoder string
	rules   [numFields]rule
	split   decode.Pointer
	splits  bool
	values  [numFields]map[string]string
	base64  [numFields]bool
	pattern *regexp.Regexp
	groups  []int // a group's field by its number; -1: none
	ignore  []*regexp.Regexp
	columns []string
	layouts []string
	zone    *time.Location
	gbk     bool           // what the device sends is in GBK
	between *regexp.Regexp // what separates the codes of a line; nil: there is one
	mapping Mapping
}

// name names the source in reasons for people.
func (s *source) name() string {
	return fmt.Sprintf("source %d (%s)", s.index, s.mapping.Topic)
}

func compileSource(i int, m Mapping, p *problems) *source {
	key := func(k string) string { return fmt.Sprintf("sources.%d.%s", i, k) }
	s := &source{index: i, decoder: m.Decoder, mapping: m, layouts: m.TimeFormats, columns: m.Columns}
	var err error
	if s.filter, err = topic.Parse(m.Topic); err != nil {
		p.add(key("topic"), "%q %w", m.Topic, err)
	}
	if m.QoS < 0 || m.QoS > 2 {
		p.add(key("qos"), "%d is none of 0, 1, 2", m.QoS)
	}
	if s.decoder == "" {
		s.decoder = "json"
	}
	if !slices.Contains([]string{"json", "text", "csv", "sparkplug"}, s.decoder) {
		p.add(key("decoder"), "%q is none of json, text, csv, sparkplug", m.Decoder)
	}
	if s.decoder == "csv" && len(m.Columns) == 0 {
		p.add(key("columns"), "csv needs the columns' names by position")
	}
	s.compileFields(m, key, p)
	s.compileTexts(m, key, p)
	if s.zone, err = location(m.Timezone); err != nil {
		p.add(key("timezone"), "%w", err)
	}
	if s.gbk = m.Encoding == "gbk"; !s.gbk && m.Encoding != "" && m.Encoding != "utf-8" {
		p.add(key("encoding"), "%q is none of utf-8, gbk", m.Encoding)
	}
	return s
}

// compileFields reads fields, split, values and base64.
func (s *source) compileFields(m Mapping, key func(string) string, p *problems) {
	for name, text := range m.Fields {
		f, ok := fieldByName(name)
		if !ok {
			p.add(key("fields."+name), "no such field; there are %s", strings.Join(fieldNames[:], ", "))
			continue
		}
		r, err := parseRule(text)
		if err == nil && r.kind == rulePointer && s.decoder == "text" && len(r.pointer) > 0 {
			err = fmt.Errorf("a text has nothing at %s: name a group of pattern %s instead", text, name)
		}
		if err != nil {
			p.add(key("fields."+name), "%w", err)
		}
		s.rules[f] = r
	}
	s.implied(len(m.Fields) > 0)
	if m.Split != "" {
		var ok bool
		if s.split, ok = decode.ParsePointer(m.Split); !ok || s.decoder != "json" {
			p.add(key("split"), "%q: want a JSON pointer such as /data/reads, with decoder json", m.Split)
		}
		s.splits = true
	}
	for name, table := range m.Values {
		if f, ok := fieldByName(name); ok {
			s.values[f] = table
			checkValues(f, table, key("values."+name), p)
		} else {
			p.add(key("values."+name), "no such field; there are %s", strings.Join(fieldNames[:], ", "))
		}
	}
	for _, name := range m.Base64 {
		if f, ok := fieldByName(name); ok {
			s.base64[f] = true
		} else {
			p.add(key("base64"), "%q: no such field; there are %s", name, strings.Join(fieldNames[:], ", "))
		}
	}
}

// implied gives the fields that are not configured their canonical names. With
// fields configured event_id is left out: what other devices call so is often no
// id at all, and a wrong one makes two scans one.
func (s *source) implied(configured bool) {
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

var topicRule = regexp.MustCompile(`^topic\[([0-9]{1,3})\]$`)

func parseRule(text string) (rule, error) {
	if literal, ok := strings.CutPrefix(text, "="); ok {
		return rule{kind: ruleLiteral, literal: literal}, nil
	}
	if m := topicRule.FindStringSubmatch(text); m != nil {
		level, err := strconv.Atoi(m[1])
		return rule{kind: ruleTopic, level: level}, err
	}
	if p, ok := decode.ParsePointer(text); ok {
		return rule{kind: rulePointer, pointer: p}, nil
	}
	return rule{}, fmt.Errorf("%q: want a JSON pointer such as /data/code, topic[N] for the N-th topic level, or =literal", text)
}

// checkValues reports canonical values that can never be right.
func checkValues(f field, table map[string]string, key string, p *problems) {
	if f != fieldActionType {
		return
	}
	for from, to := range table {
		if _, err := parseAction(to); err != nil {
			p.add(key+"."+from, "%w", err)
		}
	}
}

// compileTexts reads pattern and ignore.
func (s *source) compileTexts(m Mapping, key func(string) string, p *problems) {
	var err error
	if m.Pattern != "" {
		if s.pattern, err = regexp.Compile(m.Pattern); err != nil {
			p.add(key("pattern"), "%w", err)
		} else {
			s.compileGroups(key("pattern"), p)
		}
	}
	if m.Separator != "" {
		s.between, err = regexp.Compile(m.Separator)
		switch {
		case err != nil:
			p.add(key("separator"), "%w", err)
		case s.decoder != "text":
			p.add(key("separator"), "has a meaning with decoder text only")
		case s.between.MatchString(""):
			p.add(key("separator"), "%q also matches nothing at all, and so between any two characters", m.Separator)
		}
	}
	for i, text := range m.Ignore {
		re, err := regexp.Compile(text)
		if err != nil {
			p.add(key(fmt.Sprintf("ignore.%d", i)), "%w", err)
			continue
		}
		s.ignore = append(s.ignore, re)
	}
}

func (s *source) compileGroups(key string, p *problems) {
	for _, name := range s.pattern.SubexpNames() {
		f, ok := fieldByName(name)
		switch {
		case name == "":
			s.groups = append(s.groups, -1)
		case !ok || f == fieldData:
			s.groups = append(s.groups, -1)
			p.add(key, "group %q is no field; there are %s", name, strings.Join(fieldNames[:fieldData], ", ")+", station")
		default:
			s.groups = append(s.groups, int(f))
		}
	}
}

// location loads a time zone. Asia/Shanghai works without a zone database, and
// an offset such as +08:00 is a zone too.
func location(name string) (*time.Location, error) {
	if name == "" {
		name = DefaultTimezone
	}
	if loc, err := time.LoadLocation(name); err == nil {
		return loc, nil
	}
	if name == DefaultTimezone {
		return time.FixedZone("CST", 8*3600), nil
	}
	if t, err := time.Parse("-07:00", name); err == nil {
		return t.Location(), nil
	}
	return nil, fmt.Errorf("unknown time zone %q: want a name such as Asia/Shanghai or an offset such as +08:00", name)
}
