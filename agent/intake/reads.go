package intake

import (
	"regexp"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/scan"
)

// read is one code that an element holds.
type read struct {
	el      *element
	ordinal int // among all codes of the message
	waybill scan.WaybillID
	groups  [numFields]string // what the pattern's groups caught
}

// noRead is what scanners say when they read nothing (depot.md, Devices). It is
// never a waybill number, whatever waybill_pattern says.
var noRead = regexp.MustCompile(`(?i)^(\([0-9a-f]{12}\)\s*)?(no[ _-]?read|nr|br|error|err|\?+|\*+)$`)

// ignores reports whether one of the source's expressions says that this is no
// read.
func (s *source) ignores(text []byte) bool {
	for _, re := range s.ignore {
		if re.Match(text) {
			return true
		}
	}
	return false
}

// reads finds the codes of all elements and makes events of those that are
// waybill numbers. Where none is, the whole message is rejected.
func (j *job) reads(elements []element) {
	var good []*read
	var strange []*element
	var why *problem
	ordinal := 0
	for i := range elements {
		el := &elements[i]
		codes, bad := j.codes(el)
		if bad != nil {
			j.reject(el, bad)
			continue
		}
		if len(codes) == 0 {
			j.ignore(el, "it has no waybill number at "+j.src.rules[fieldWaybill].String())
			continue
		}
		seen := make(map[scan.WaybillID]bool, len(codes))
		for _, code := range codes {
			rd := &read{el: el, ordinal: ordinal}
			ordinal++
			switch verdict, p := j.judge(rd, code); {
			case verdict == isNone:
				j.ignore(el, p.reason)
			case verdict == isBroken:
				j.reject(el, p)
			case verdict == isStrange:
				strange = append(strange, el)
				if why == nil {
					why = p
				}
			case seen[rd.waybill]:
				j.ignore(el, "the same element has this number twice")
			default:
				seen[rd.waybill] = true
				good = append(good, rd)
			}
		}
	}
	if len(good) == 0 && why != nil {
		j.batch.Rejects = nil
		j.reject(nil, why)
		return
	}
	for _, el := range strange {
		j.ignore(el, "another code of the message is the waybill number")
	}
	for _, rd := range good {
		j.event(rd)
	}
}

// codes returns the texts at an element's waybill field; several if an array is
// there.
func (j *job) codes(el *element) (codes []found, bad *problem) {
	if j.src.ignores(el.raw) {
		return nil, nil
	}
	v, ok := j.find(fieldWaybill, el)
	if !ok {
		return nil, nil
	}
	if v.node == nil || v.node.Kind != decode.Array && v.node.Kind != decode.Object {
		return []found{v}, nil
	}
	if v.node.Kind == decode.Object {
		return nil, problemf("bad_waybill", "waybill_id at %s is an object: let fields.waybill_id of %s point to the number in it", v.from, j.src.name())
	}
	for i := range v.node.Kids() {
		kid := &v.node.Kids()[i]
		if text, ok := kid.Text(); ok {
			if text = valid(decode.StripText(text)); text != "" {
				codes = append(codes, found{text: text, node: kid, from: v.from})
			}
		}
	}
	return codes, nil
}

// verdict is what a code is.
type verdict int

const (
	isWaybill verdict = iota
	isNone            // no read at all
	isStrange         // a code, but no waybill number
	isBroken          // can't be told
)

// judge makes a waybill number of a code, or says why it is none.
func (j *job) judge(rd *read, v found) (verdict, *problem) {
	text := v.text
	if j.src.base64[fieldWaybill] && v.node != nil {
		var bad *problem
		if text, bad = j.decodeText(fieldWaybill, v); bad != nil {
			return isBroken, bad
		}
	}
	if text == "" {
		return isNone, problemf("", "the waybill number is empty")
	}
	if noRead.MatchString(text) || j.src.ignores([]byte(text)) {
		return isNone, problemf("", "the scanner read nothing")
	}
	code := text
	if j.src.pattern != nil {
		var ok bool
		if code, ok = j.capture(rd, text); !ok {
			p := problemf("no_match", "%q does not match pattern of %s", shown(text), j.src.name())
			if j.src.decoder == "text" {
				return isBroken, p
			}
			return isStrange, p
		}
		if code == "" || noRead.MatchString(code) {
			return isNone, problemf("", "the scanner read nothing")
		}
	}
	if to, ok := j.translate(fieldWaybill, code); ok {
		code = to
	}
	rd.waybill = scan.NormalizeWaybill(code)
	return j.accept(rd.waybill)
}

// accept holds a number against waybill_pattern.
func (j *job) accept(w scan.WaybillID) (verdict, *problem) {
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
