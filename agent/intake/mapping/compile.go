package mapping

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/topic"
	"scanrelay/agent/scan"
	"scanrelay/configs/nearest"
)

// maxPayload is the largest payload that is decoded, in bytes.
const maxPayload = 1 << 20

// Config is what Compile makes Rules of.
type Config struct {
	Depot     scan.DepotID
	DepotName string
	// Sources in file order; the first whose filter matches takes a message.
	Sources  []Source
	Stations map[string]Station
	// WaybillPattern; "" is DefaultWaybillPattern. WaybillPatternSet: the
	// operator chose it, so that a phone number may be a waybill number.
	WaybillPattern    string
	WaybillPatternSet bool
	MaxPayload        int // largest payload that is decoded, in bytes; 0: 1 MiB
}

// Rules are a compiled configuration; they never change.
type Rules struct {
	depot      templatePlace
	sources    []*source
	stations   map[string]*station
	waybill    *regexp.Regexp
	phones     bool // a phone number may be a waybill number
	maxPayload int
}

// Compile makes rules of a configuration and says all that is wrong with it. The
// rules are nil if it cannot be used.
func Compile(cfg Config) (*Rules, Problems) {
	c := &compiler{}
	r := &Rules{
		depot:      templatePlace{string(cfg.Depot), cfg.DepotName},
		stations:   make(map[string]*station, len(cfg.Stations)),
		waybill:    c.regexp("waybill_pattern", cmp.Or(cfg.WaybillPattern, DefaultWaybillPattern)),
		phones:     cfg.WaybillPatternSet && cfg.WaybillPattern != "",
		maxPayload: cmp.Or(max(cfg.MaxPayload, 0), maxPayload),
	}
	if len(cfg.Sources) == 0 {
		c.bad("sources", "must hold at least one source; without the key it is scans/# with decoder json")
	}
	exact, wide := make(map[string]bool), []string(nil) // filters of earlier sources
	for i, s := range cfg.Sources {
		r.sources = append(r.sources, c.source(i, s))
		filter := topic.Unshared(s.Topic)
		j := slices.IndexFunc(wide, func(before string) bool { return topic.Covers(before, filter) })
		switch {
		case filter == "":
		case exact[filter]:
			c.warn(c.key+".topic", "is never reached: another source has the same filter and comes first")
		case j >= 0:
			c.warn(c.key+".topic", "is never reached: the source of %s comes first and takes all of it", wide[j])
		}
		exact[filter] = true
		if strings.ContainsAny(filter, "+#") {
			wide = append(wide, filter)
		}
	}
	for _, id := range sorted(cfg.Stations) {
		r.stations[id] = c.station(id, cfg.Stations[id])
	}
	if c.Err() != nil {
		return nil, c.Problems
	}
	return r, c.Problems
}

// source is a compiled Source; it never changes.
type source struct {
	index   int
	filter  topic.Filter
	decoder string
	rules   [numFields]rule
	split   decode.Pointer
	splits  bool
	values  [numFields]map[string]string
	forms   [numFields]decode.Form // in which fields are wrapped
	form    decode.Form            // in which the payload is
	pattern *regexp.Regexp
	groups  []int // a group's field by its number; -1: none
	ignore  []*regexp.Regexp
	columns []string
	layouts []string
	zone    *time.Location
	gbk     bool           // what the device sends is in GBK
	between *regexp.Regexp // what separates the codes of a line; nil: there is one
	cfg     Source
}

// name names the source in reasons for people.
func (s *source) name() string {
	return fmt.Sprintf("source %d (%s)", s.index, s.cfg.Topic)
}

// json reports whether what is decoded is a JSON document, or is read as one.
func (s *source) json() bool { return s.decoder == "json" || s.decoder == "xml" }

// numberInTopic reports whether a message needs no payload.
func (s *source) numberInTopic() bool {
	return s.rules[fieldWaybill].kind == ruleTopic && s.decoder != "sparkplug" && !s.splits
}

// compiler collects what is wrong with a configuration.
type compiler struct {
	Problems
	key string // of the source at hand
}

func (c *compiler) source(i int, cfg Source) *source {
	c.key = fmt.Sprintf("sources[%d]", i)
	s := &source{
		index: i, decoder: cmp.Or(cfg.Decoder, "json"), gbk: cfg.Encoding == "gbk",
		columns: cfg.Columns, layouts: cfg.TimeFormats, cfg: cfg,
	}
	s.filter = c.filter(cfg.Topic)
	switch {
	case cfg.QoS < 0 || cfg.QoS > 2:
		c.bad(c.key+".qos", "must lie between 0 and 2, not be %d", cfg.QoS)
	case cfg.QoS == 0:
		c.warn(c.key+".qos", "0 lets the broker forget scans; use 1")
	}
	c.oneOf(c.key+".decoder", s.decoder, "json", "text", "csv", "xml", "sparkplug")
	c.fields(s)
	c.split(s)
	c.values(s)
	c.forms(s)
	c.texts(s)
	c.columns(s)
	for k, layout := range cfg.TimeFormats {
		c.layout(fmt.Sprintf("%s.time_formats[%d]", c.key, k), layout)
	}
	s.zone = c.zone(cfg.Timezone)
	c.oneOf(c.key+".encoding", cmp.Or(cfg.Encoding, "utf-8"), "utf-8", "gbk")
	if s.gbk && s.decoder == "sparkplug" {
		c.warn(c.key+".encoding", "has no effect with decoder sparkplug")
	}
	return s
}

func (c *compiler) filter(text string) topic.Filter {
	if text == "" {
		c.bad(c.key+".topic", "is required")
		return nil
	}
	f, err := topic.Parse(text)
	if err != nil {
		c.bad(c.key+".topic", "%s", err)
	}
	return f
}

func (c *compiler) oneOf(key, value string, known ...string) {
	if !slices.Contains(known, value) {
		c.bad(key, "%s; it may be %s", nearest.Unknown("value", value, known), strings.Join(known, ", "))
	}
}

// field finds a canonical field by its name.
func (c *compiler) field(key, name string) (field, bool) {
	f, ok := fieldByName(name)
	if !ok {
		c.bad(key, "%s", nearest.Unknown("field", name, fieldNames[:]))
	}
	return f, ok
}

func (c *compiler) regexp(key, text string) *regexp.Regexp {
	re, err := regexp.Compile(text)
	if err != nil {
		c.bad(key, "is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re
}

// fields reads where each field comes from.
func (c *compiler) fields(s *source) {
	for _, name := range sorted(s.cfg.Fields) {
		key := c.key + ".fields." + name
		r, err := parseRule(s.cfg.Fields[name])
		switch f, ok := c.field(key, name); {
		case err != nil:
			c.bad(key, "%s", err)
		case !ok:
		case r.kind == ruleJoin && (f == fieldWaybill || f == fieldData):
			c.bad(key, "is one value in one place; %s joins several", strings.TrimSpace(and))
		default:
			s.rules[f] = r
		}
	}
	s.imply(len(s.cfg.Fields) > 0)
	for f, place := range s.placesOf() {
		c.place(s, f, place)
	}
}

// place checks what a field's place needs elsewhere.
func (c *compiler) place(s *source, f field, r rule) {
	key := c.key + ".fields." + f.String()
	switch {
	case r.kind == rulePointer && s.decoder == "text" && len(r.pointer) > 0:
		c.bad(key, "a text has nothing at %s: name a group of pattern %s instead", r, f)
	case r.kind == ruleKey:
		split, _ := decode.ParsePointer(s.cfg.Split) // what is wrong with it is said elsewhere
		stars := countStars(split)
		if w := s.rules[fieldWaybill]; w.kind == rulePointer && f != fieldWaybill {
			stars += countStars(w.pointer)
		}
		if r.level >= stars {
			c.bad(key, "%s is what a * in split or fields.waybill_id stands for, the first is key[0]; they have %d", r, stars)
		}
	}
}

func countStars(p decode.Pointer) (n int) {
	for _, token := range p {
		if token == "*" {
			n++
		}
	}
	return n
}

func (c *compiler) split(s *source) {
	if s.splits = s.cfg.Split != ""; !s.splits {
		return
	}
	var err error
	switch s.split, err = decode.ParsePointer(s.cfg.Split); {
	case err != nil:
		c.bad(c.key+".split", "%s", err)
	case !s.json():
		c.bad(c.key+".split", "has a meaning with decoder json and xml only")
	}
}

func (c *compiler) values(s *source) {
	for _, name := range sorted(s.cfg.Values) {
		key := c.key + ".values." + name
		f, ok := c.field(key, name)
		if !ok {
			continue
		}
		s.values[f] = s.cfg.Values[name]
		for _, from := range sorted(s.values[f]) {
			if f == fieldActionType {
				c.action(key+"."+from, s.values[f][from])
			}
		}
	}
}

// action checks a code as it is written.
func (c *compiler) action(key, text string) {
	a, ok := actionType(text)
	if !ok {
		c.bad(key, "%q is no action_type", text)
	} else if err := a.Check(); err != nil {
		c.bad(key, "%s", err)
	}
}

// wholePayload stands in base64 and hex for all that is sent.
const wholePayload = "payload"

// forms reads which values are wrapped in which form.
func (c *compiler) forms(s *source) {
	for form, names := range map[decode.Form][]string{decode.Base64: s.cfg.Base64, decode.Hex: s.cfg.Hex} {
		for i, name := range names {
			key := fmt.Sprintf("%s.%s[%d]", c.key, form, i)
			at := &s.form
			if name != wholePayload {
				f, ok := c.field(key, name)
				if !ok {
					continue
				}
				at = &s.forms[f]
			}
			if *at != decode.Plain && *at != form {
				c.bad(key, "%s cannot be in base64 and in hex", name)
			}
			*at = form
		}
	}
}

// texts reads the regular expressions: pattern, separator and ignore.
func (c *compiler) texts(s *source) {
	if s.cfg.Pattern != "" {
		if s.pattern = c.regexp(c.key+".pattern", s.cfg.Pattern); s.pattern != nil {
			s.groups = c.groups(s.pattern)
		}
	}
	if key := c.key + ".separator"; s.cfg.Separator != "" {
		s.between = c.regexp(key, s.cfg.Separator)
		if s.between != nil && s.between.MatchString("") {
			c.bad(key, "%q also matches nothing at all, and so between any two characters", s.cfg.Separator)
		}
		if s.decoder != "text" {
			c.bad(key, "has a meaning with decoder text only")
		}
	}
	for i, text := range s.cfg.Ignore {
		s.ignore = append(s.ignore, c.regexp(fmt.Sprintf("%s.ignore[%d]", c.key, i), text))
	}
}

// groups finds the fields that a pattern's groups are.
func (c *compiler) groups(pattern *regexp.Regexp) (groups []int) {
	key, named := c.key+".pattern", false
	for _, name := range pattern.SubexpNames() {
		if name == "" {
			groups = append(groups, -1)
			continue
		}
		named = true
		f, _ := c.field(key, name)
		if f == fieldData {
			c.bad(key, "group %q cannot be: it is an object, not a text", name)
		}
		groups = append(groups, int(f))
	}
	if !named {
		c.bad(key, "has no named group; name what it finds, as in (?P<waybill_id>[A-Z0-9]+)")
	}
	return groups
}

func (c *compiler) columns(s *source) {
	switch {
	case s.decoder == "csv" && len(s.columns) == 0:
		c.bad(c.key+".columns", "is required with decoder csv: the names by position")
	case s.decoder != "csv" && len(s.columns) > 0:
		c.warn(c.key+".columns", "has no effect with decoder %s", s.decoder)
	}
	seen := make(map[string]bool)
	for i, name := range s.columns {
		if seen[name] && name != "" && name != "-" && name != "_" {
			c.bad(fmt.Sprintf("%s.columns[%d]", c.key, i), "%q is given twice", name)
		}
		seen[name] = true
	}
	if s.decoder != "csv" || len(s.columns) == 0 {
		return
	}
	for f, r := range s.placesOf() {
		if r.kind != rulePointer || len(r.pointer) > 0 && seen[r.pointer[0]] || r.implied && f != fieldWaybill {
			continue
		}
		if r.implied {
			c.bad(c.key+".columns", "names no waybill_id, and fields neither")
			continue
		}
		c.bad(c.key+".fields."+f.String(), "columns has no %s", r)
	}
}

// placesOf lists each place of each field.
func (s *source) placesOf() iter.Seq2[field, rule] {
	return func(yield func(field, rule) bool) {
		for f, r := range s.rules {
			for _, place := range r.places() {
				if !yield(field(f), place) {
					return
				}
			}
		}
	}
}

// layout checks a Go time layout: written out, a moment must read back.
func (c *compiler) layout(key, layout string) {
	if layout == decode.Excel {
		return
	}
	at := time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC)
	text := at.Format(layout)
	if text == layout {
		c.bad(key, "%q is no Go time layout; write the moment Mon Jan 2 15:04:05 2006 as the device would, as in 2006-01-02 15:04:05, or %s for a spreadsheet's days", layout, decode.Excel)
		return
	}
	if _, err := time.Parse(layout, text); err != nil {
		c.bad(key, "%q is a layout that cannot be read back", layout)
	}
}

// zone loads a time zone. Asia/Shanghai works without a zone database, and an
// offset such as +08:00 is a zone too.
func (c *compiler) zone(name string) *time.Location {
	name = cmp.Or(name, DefaultTimezone)
	if loc, err := time.LoadLocation(name); err == nil {
		return loc
	}
	if name == DefaultTimezone {
		return time.FixedZone("CST", 8*3600)
	}
	if t, err := time.Parse("-07:00", name); err == nil {
		return t.Location()
	}
	c.bad(c.key+".timezone", "%q is no time zone that this machine knows; write one as %s or +08:00", name, DefaultTimezone)
	return nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
