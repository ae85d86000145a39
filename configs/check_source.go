package configs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func (c *checker) sources(a *Agent) {
	if len(a.Sources) == 0 {
		c.bad("sources", "must hold at least one source; without the key it is scans/# with decoder json")
	}
	first := map[string]int{}
	for i := range a.Sources {
		key := fmt.Sprintf("sources[%d]", i)
		c.source(key, &a.Sources[i])
		topic := a.Sources[i].Topic
		if j, ok := first[topic]; ok && topic != "" {
			c.warn(key+".topic", "is never reached: sources[%d] has the same filter and comes first", j)
		} else {
			first[topic] = i
		}
	}
	for _, id := range sortedKeys(a.Stations) {
		c.station("stations."+id, a.Stations[id])
	}
}

func (c *checker) source(key string, s *Source) {
	if c.required(key+".topic", s.Topic) {
		c.filter(key+".topic", s.Topic)
	}
	c.number(key+".qos", s.QoS, 0, 2)
	if s.QoS == 0 {
		c.warn(key+".qos", "0 lets the broker forget scans; use 1")
	}
	c.oneOf(key+".decoder", s.Decoder, Decoders())
	for _, name := range sortedKeys(s.Fields) {
		c.canonical(key+".fields."+name, name)
		c.fieldPlace(key+".fields."+name, s.Fields[name])
	}
	if s.Split != "" {
		c.pointer(key+".split", s.Split)
	}
	for _, name := range sortedKeys(s.Values) {
		c.values(key+".values."+name, name, s.Values[name])
	}
	for i, name := range s.Base64 {
		c.canonical(fmt.Sprintf("%s.base64[%d]", key, i), name)
	}
	if s.Pattern != "" {
		c.pattern(key+".pattern", s.Pattern)
	}
	for i, re := range s.Ignore {
		c.regexp(fmt.Sprintf("%s.ignore[%d]", key, i), re)
	}
	c.columns(key, s)
	for i, layout := range s.TimeFormats {
		c.layout(fmt.Sprintf("%s.time_formats[%d]", key, i), layout)
	}
	c.timezone(key+".timezone", s.Timezone)
	c.oneOf(key+".encoding", s.Encoding, Encodings())
	if s.Separator != "" {
		c.separator(key, s)
	}
	if s.Decoder == "sparkplug" && s.Encoding == "gbk" {
		c.warn(key+".encoding", "has no effect with decoder sparkplug")
	}
}

// filter checks an MQTT topic filter.
func (c *checker) filter(key, filter string) {
	levels := strings.Split(filter, "/")
	if strings.ContainsRune(filter, 0) || len(filter) > 65535 || !utf8.ValidString(filter) {
		c.bad(key, "is no topic filter")
		return
	}
	for i, level := range levels {
		switch {
		case strings.Contains(level, "#") && (level != "#" || i != len(levels)-1):
			c.bad(key, "# must be the whole last level of a topic filter")
			return
		case strings.Contains(level, "+") && level != "+":
			c.bad(key, "+ must be a whole level of a topic filter")
			return
		}
	}
}

func (c *checker) canonical(key, name string) bool {
	if slices.Contains(Fields(), name) {
		return true
	}
	c.bad(key, "%s", unknown("field", name, Fields()))
	return false
}

var topicPlace = regexp.MustCompile(`^topic\[([0-9]{1,3})\]$`)

// fieldPlace checks where a field comes from: a JSON pointer, topic[N] or
// =literal.
func (c *checker) fieldPlace(key, from string) {
	switch {
	case strings.HasPrefix(from, "="), topicPlace.MatchString(from):
	case strings.HasPrefix(from, "topic"):
		c.bad(key, "%q is no topic level; write one as topic[1], the first is topic[0]", from)
	default:
		c.pointer(key, from)
	}
}

// pointer checks a JSON pointer (RFC 6901); "" is the whole payload.
func (c *checker) pointer(key, text string) {
	if text != "" && !strings.HasPrefix(text, "/") {
		c.bad(key, "%q is no JSON pointer; begin it with /, as in /data/barcode (or write topic[N] or =text)", text)
		return
	}
	for i := range len(text) {
		if text[i] == '~' && (i+1 == len(text) || text[i+1] != '0' && text[i+1] != '1') {
			c.bad(key, "%q is no JSON pointer: ~ must be written ~0 and a / within a name ~1", text)
			return
		}
	}
}

func (c *checker) values(key, name string, table map[string]string) {
	if !c.canonical(key, name) || name != "action_type" {
		return
	}
	for _, from := range sortedKeys(table) {
		code, err := strconv.Atoi(table[from])
		if err != nil {
			c.bad(key+"."+from, "%q is no action_type", table[from])
			continue
		}
		c.action(key+"."+from, code)
	}
}

// pattern checks an expression whose named groups are canonical fields.
func (c *checker) pattern(key, text string) {
	re := c.regexp(key, text)
	if re == nil {
		return
	}
	named := false
	for _, group := range re.SubexpNames() {
		if group != "" {
			named = true
			c.canonical(key, group)
		}
	}
	if !named {
		c.bad(key, "has no named group; name what it finds, as in (?P<waybill_id>[A-Z0-9]+)")
	}
}

// separator checks what stands between several codes of a line.
func (c *checker) separator(key string, s *Source) {
	re := c.regexp(key+".separator", s.Separator)
	if re != nil && re.MatchString("") {
		c.bad(key+".separator", "%q also matches nothing at all, and so between any two characters", s.Separator)
	}
	if s.Decoder != "text" {
		c.bad(key+".separator", "has a meaning with decoder text only")
	}
}

func (c *checker) columns(key string, s *Source) {
	if s.Decoder == "csv" && len(s.Columns) == 0 {
		c.bad(key+".columns", "is required with decoder csv: the names by position")
	}
	if s.Decoder != "csv" && len(s.Columns) > 0 {
		c.warn(key+".columns", "has no effect with decoder %s", s.Decoder)
	}
	seen := map[string]bool{}
	for i, name := range s.Columns {
		if seen[name] && name != "" && name != "-" && name != "_" {
			c.bad(fmt.Sprintf("%s.columns[%d]", key, i), "%q is given twice", name)
		}
		seen[name] = true
	}
}

// layout checks a Go time layout: written out, a moment must read back.
func (c *checker) layout(key, layout string) {
	at := time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC)
	text := at.Format(layout)
	if text == layout {
		c.bad(key, "%q is no Go time layout; write the moment Mon Jan 2 15:04:05 2006 as the device would, as in 2006-01-02 15:04:05", layout)
		return
	}
	if _, err := time.Parse(layout, text); err != nil {
		c.bad(key, "%q is a layout that cannot be read back", layout)
	}
}

func (c *checker) timezone(key, zone string) {
	if zone == DefaultTimezone {
		return // known even where the machine has no time zone database
	}
	if _, err := time.LoadLocation(zone); err != nil {
		c.bad(key, "%q is no time zone that this machine knows; write one as %s", zone, DefaultTimezone)
	}
}

func (c *checker) station(key string, s Station) {
	if s.ActionType != 0 || c.given(key+".action_type") {
		c.action(key+".action_type", s.ActionType)
	}
	c.message(key+".action_msg", s.ActionMsg)
	for _, f := range []struct {
		name, value string
		most        int
	}{
		{"name", s.Name, 64},
		{"pickup_courier_name", s.PickupCourierName, 64}, {"pickup_courier_phone", s.PickupCourierPhone, 32},
		{"delivery_courier_name", s.DeliveryCourierName, 64}, {"delivery_courier_phone", s.DeliveryCourierPhone, 32},
	} {
		if utf8.RuneCountInString(f.value) > f.most {
			c.bad(key+"."+f.name, "is longer than %d characters", f.most)
		}
	}
}
