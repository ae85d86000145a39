package mapping

import (
	"regexp"
	"slices"
	"strings"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// read is one code that an element holds.
type read struct {
	el      *element
	ordinal int // among all codes of the message
	waybill scan.WaybillID
	keys    []string          // what each * on the way to it stood for
	groups  [numFields]string // what the pattern's groups caught
	from    string            // where the number was, and what was done with it
	sent    string            // the code that held it
}

// noRead is what scanners say when they read nothing. It is
// never a waybill number, whatever waybill_pattern says.
var noRead = regexp.MustCompile(`(?i)^(\([0-9a-f]{12}\)\s*)?<?(no[ _-]?(read|code|data|tag|barcode)|nr|br|error|err|er,[0-9]+|timeout|undefined|null|\?+|\*+)>?$`)

// code is one text found at an element's waybill field.
type code struct {
	text string
	from string
	bad  *problem // it could not be decoded
	keys []string // what each * of the waybill field stood for
}

// reads finds the codes of all elements and makes events of those that are
// waybill numbers. Where none is, the whole message is rejected.
func (j *job) reads(elements []element) {
	codes, sum := make([][]code, len(elements)), 0
	for i := range elements {
		codes[i] = j.codes(&elements[i])
		if sum += len(codes[i]); sum > maxReads {
			j.reject(nil, tooMany())
			return
		}
	}
	if j.src.ignoresAround(decode.Strip(j.payload), elements, codes) {
		j.ignore(nil, "the payload matches ignore")
		return
	}
	s := sorter{job: j}
	for i := range elements {
		s.element(&elements[i], codes[i])
	}
	s.finish()
}

// sorter sorts a message's codes by what they are.
type sorter struct {
	*job
	ordinal int
	good    []*read
	strange []*element // one for each code that is no waybill number
	why     *problem   // what is strange about the first
	vacant  []vacancy
	found   bool     // the waybill field is somewhere in the message, or must be empty
	whole   *problem // for which the whole message is kept
}

// vacancy is where a number could have been: a missing or empty field.
type vacancy struct {
	el  *element
	why string
}

func (s *sorter) element(el *element, codes []code) {
	if s.src.ignoresElement(el, codes) {
		s.ignore(el, "it matches ignore")
		return
	}
	if len(codes) == 0 || el.lost {
		s.without(el)
		return
	}
	seen := make(map[scan.WaybillID]bool, len(codes))
	for _, c := range codes {
		rd := &read{el: el, ordinal: s.ordinal, keys: slices.Concat(el.keys, c.keys)}
		s.ordinal++
		what, p := s.classify(rd, c)
		s.found = s.found || what != isVacant
		switch {
		case what == isVacant:
			s.vacant = append(s.vacant, vacancy{el, p.reason})
		case what == isNone:
			s.ignore(el, p.reason)
		case what == isBroken:
			s.broken(el, p)
		case what == isStrange:
			s.strange = append(s.strange, el)
			if s.why == nil {
				s.why = p
			}
		case seen[rd.waybill]:
			s.ignore(el, "the same element has this number twice")
		default:
			seen[rd.waybill] = true
			s.good = append(s.good, rd)
		}
	}
}

func (s *sorter) broken(el *element, p *problem) {
	switch {
	case !p.whole:
		s.reject(el, p)
	case s.whole == nil:
		s.whole = p
		s.reject(nil, p)
	}
}

func (s *sorter) finish() {
	if len(s.vacant) > 0 && !s.found && !s.blank() {
		s.reject(nil, s.noWaybill(s.vacant[0]))
		return
	}
	for _, v := range s.vacant {
		s.ignore(v.el, v.why)
	}
	if len(s.good) == 0 && s.why != nil {
		s.batch.Rejects = nil // they are within the message
		s.reject(nil, s.why)
		return
	}
	for _, el := range s.strange {
		s.ignore(el, "another code of the message is the waybill number")
	}
	for _, rd := range s.good {
		s.event(rd)
	}
}

// codes returns the texts at an element's waybill field, decoded; several
// if an array is there.
func (j *job) codes(el *element) []code {
	v, ok := j.find(fieldWaybill, el, el.keys)
	if !ok {
		return j.everyCode(el)
	}
	if v.node == nil {
		return []code{{text: v.text, from: v.from}}
	}
	switch kind := v.node.Kind; {
	case v.text != "":
		return []code{j.code(v)}
	case kind == decode.Object:
		return []code{{bad: problemf("bad_waybill", "waybill_id at %s is an object: let fields.waybill_id of %s point to the number in it", v.from, j.src.name())}}
	case kind == decode.Array:
		return j.codesOf(nil, v.node, v.from)
	case kind == decode.Unreadable:
		return []code{{bad: unreadable(v.from, v.node)}}
	default:
		return []code{j.code(v)}
	}
}

// codesOf returns the texts of an array and of arrays in it.
func (j *job) codesOf(codes []code, array *decode.Node, from string) []code {
	for i := range array.Kids() {
		kid := &array.Kids()[i]
		switch text, ok := j.text(kid); {
		case ok:
			codes = append(codes, j.code(found{text: text, node: kid, from: from}))
		case kid.Kind == decode.Array:
			codes = j.codesOf(codes, kid, from)
		case kid.Kind == decode.Unreadable:
			codes = append(codes, code{bad: unreadable(from, kid)})
		case kid.Kind == decode.Object:
			codes = append(codes, code{bad: problemf("bad_waybill", "waybill_id at %s is a list of objects: let split of %s be %s, and fields.waybill_id point to the number in one of them", from, j.src.name(), from)})
		}
	}
	return codes
}

// everyCode returns the texts that a waybill field with * on its way points to.
func (j *job) everyCode(el *element) (codes []code) {
	r := j.src.rules[fieldWaybill]
	if r.kind != rulePointer || !slices.Contains(r.pointer, "*") {
		return nil
	}
	for i, n := range append([]*decode.Node{el.node}, el.around...) {
		reads, known := j.expanded[n]
		if !known {
			reads = j.expand(n, r.pointer)
		}
		if i > 0 && !known { // others are within it, too
			if j.expanded == nil {
				j.expanded = make(map[*decode.Node][]decode.Element)
			}
			j.expanded[n] = reads
		}
		for _, e := range reads {
			if text, ok := j.text(e.Node); ok {
				c := j.code(found{text: text, node: e.Node, from: r.String(), form: e.Form})
				c.keys = e.Keys
				codes = append(codes, c)
			} else if e.Node.Kind == decode.Unreadable {
				codes = append(codes, code{bad: unreadable(r.String(), e.Node)})
			}
		}
		if len(codes) > 0 {
			break
		}
	}
	return codes
}

func (j *job) expand(n *decode.Node, p decode.Pointer) []decode.Element {
	if j.src.decoder == "sparkplug" {
		return sparkplug.Expand(n, p)
	}
	return n.Expand(p)
}

func (j *job) code(v found) code {
	text, from, bad := j.decoded(fieldWaybill, v)
	if bad == nil && v.node != nil && v.node.Kind == decode.Number && strings.ContainsAny(text, "eE") {
		bad = problemf("not_waybill", "%s is no number that can be written out: let the device send it as a text", shown(text))
	}
	if j.src.cfg.AIM {
		text = symbology.ReplaceAllString(text, "")
	}
	return code{text: text, from: from, bad: bad}
}

// symbology is what a scanner may put before a code to say of which kind it is, as ]C1
// (ISO/IEC 15424), and what stands between the parts of one by GS1: character 29, as it
// is or as scanners that send texts write it.
var symbology = regexp.MustCompile(`^\][A-Za-z][0-9A-Za-z]|\x1d|[<{\[](?i:gs|fnc1)[>}\]]`)

// class is what a code is.
type class int

const (
	isWaybill class = iota
	isVacant        // nothing
	isNone          // no read at all
	isStrange       // a code, but no waybill number
	isBroken        // can't be told
)

// classify makes a waybill number of a code, or says why it is none.
func (j *job) classify(rd *read, c code) (class, *problem) {
	switch {
	case c.bad != nil:
		return isBroken, c.bad
	case c.text == "":
		return isVacant, problemf("", "the waybill number is empty")
	case noRead.MatchString(c.text) || matchesAny(j.src.ignore, []byte(c.text)):
		return isNone, problemf("", "the scanner read nothing")
	}
	number := c.text
	rd.from, rd.sent = c.from, c.text
	if j.src.pattern != nil {
		var ok bool
		if number, ok = j.capture(rd, c.text); !ok {
			p := problemf("no_match", "%q does not match pattern of %s", shown(c.text), j.src.name())
			if j.src.decoder == "text" {
				return isBroken, p
			}
			return isStrange, p
		}
		if number == "" {
			return isVacant, problemf("", "pattern finds an empty waybill number")
		}
		if noRead.MatchString(number) {
			return isNone, problemf("", "the scanner read nothing")
		}
		rd.from += ", pattern"
	}
	if to, ok := j.translate(fieldWaybill, number); ok {
		number = to
		rd.from += ", values"
	}
	rd.waybill = scan.NormalizeWaybill(number)
	return j.accept(rd.waybill)
}

// accept holds a number against waybill_pattern.
func (j *job) accept(w scan.WaybillID) (class, *problem) {
	if !j.waybill.MatchString(string(w)) {
		return isStrange, problemf("not_waybill", "%q does not match waybill_pattern %s: if it is a waybill number, mend the pattern; if the device adds something to it, give %s a pattern with a group waybill_id",
			shown(string(w)), j.waybill, j.src.name())
	}
	if !j.phones && scan.LooksLikePhone(string(w)) {
		return isStrange, problemf("phone", "%q looks like a phone number: if such numbers are waybill numbers, set waybill_pattern", shown(string(w)))
	}
	return isWaybill, nil
}

// capture applies the source's pattern. Without a group waybill_id the whole
// match is the number.
func (j *job) capture(rd *read, text string) (string, bool) {
	m := j.src.pattern.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	code, named := "", false
	for i, f := range j.src.groups {
		part := decode.StripText(m[i])
		switch {
		case f < 0:
		case field(f) == fieldWaybill:
			named = true
			if part != "" { // of several groups of that name one took part
				code = part
			}
		default:
			rd.groups[f] = part
		}
	}
	if !named {
		code = decode.StripText(m[0])
	}
	return code, true
}

// What an expression of ignore takes out is the smallest part of a message that
// it matches: a code, else the element or line that holds it, else the message.
// So NOREAD among good reads takes none of them along, and an expression about
// the envelope takes all.

func matchesAny(list []*regexp.Regexp, text []byte) bool {
	for _, re := range list {
		if re.Match(text) {
			return true
		}
	}
	return false
}

func matchesCode(re *regexp.Regexp, codes []code) bool {
	for _, c := range codes {
		if re.MatchString(c.text) {
			return true
		}
	}
	return false
}

// ignoresElement reports whether an expression matches the element, and none of
// its codes.
func (s *source) ignoresElement(el *element, codes []code) bool {
	for _, re := range s.ignore {
		if re.Match(el.raw) && !matchesCode(re, codes) {
			return true
		}
	}
	return false
}

// ignoresAround reports whether an expression matches the message, and none of
// its elements.
func (s *source) ignoresAround(text []byte, elements []element, codes [][]code) bool {
	for _, re := range s.ignore {
		if !re.Match(text) {
			continue
		}
		within := false
		for i := range elements {
			within = within || re.Match(elements[i].raw) || matchesCode(re, codes[i])
		}
		if !within {
			return true
		}
	}
	return false
}
