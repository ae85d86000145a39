package mapping

import (
	"errors"
	"strings"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// found is a field's value and where it came from.
type found struct {
	text string // stripped; not yet decoded or through the table of values
	node *decode.Node
	from string
	form decode.Form // in which what holds it is wrapped
}

// find looks a field up by its rule; keys are what each * on the way to the read
// stood for. Nothing, null and the empty text are all nothing.
func (j *job) find(f field, el *element, keys []string) (v found, ok bool) {
	return j.findBy(j.src.rules[f], el, keys)
}

func (j *job) findBy(r rule, el *element, keys []string) (v found, ok bool) {
	if r.kind != ruleJoin {
		return j.findAt(r, el, keys)
	}
	var texts []string
	for _, part := range r.parts {
		if one, ok := j.findAt(part, el, keys); ok && one.text != "" {
			texts = append(texts, one.text)
		}
	}
	return found{text: strings.Join(texts, " "), from: r.String()}, len(texts) > 0
}

func (j *job) findAt(r rule, el *element, keys []string) (v found, ok bool) {
	switch r.kind {
	case ruleLiteral:
		return found{text: r.literal, from: r.String()}, r.literal != ""
	case ruleTopic:
		return levelOf(r, j.levels)
	case ruleKey:
		return levelOf(r, keys)
	case rulePointer:
		if v, ok = j.follow(r, el.node); ok {
			return v, true
		}
		if len(r.pointer) == 0 {
			return found{}, false // the element itself; what is around it is another's
		}
		for _, n := range el.around {
			if v, ok = j.follow(r, n); ok {
				v.from += " of the message"
				return v, true
			}
		}
	}
	return found{}, false
}

func levelOf(r rule, levels []string) (v found, ok bool) {
	if r.level >= len(levels) {
		return found{}, false
	}
	v = found{text: valid(decode.StripText(levels[r.level])), from: r.String()}
	return v, v.text != ""
}

func (j *job) follow(r rule, n *decode.Node) (v found, ok bool) {
	if j.src.decoder == "sparkplug" {
		n, ok = sparkplug.Find(n, r.pointer)
	} else {
		n, v.form, ok = n.FindIn(r.pointer)
	}
	if !ok || n.Kind == decode.Null {
		return found{}, false
	}
	v.node, v.from = n, r.String()
	if len(r.pointer) == 0 {
		v.from = "the text"
	}
	text, scalar := j.text(n)
	v.text = text
	return v, text != "" || !scalar
}

// text is a scalar's text, or what bytes are as a text; false for another array or
// object.
func (j *job) text(n *decode.Node) (string, bool) {
	if b, ok := n.Bytes(); ok {
		text, err := j.plain(b)
		return text, err == nil
	}
	text, ok := n.Text()
	return valid(decode.StripText(text)), ok
}

// plain is what bytes are as a text: unpacked, if they are packed, and in UTF-8.
func (j *job) plain(b []byte) (string, error) {
	if plain, how, err := j.unpack(b, maxField); how != "" {
		if err != nil {
			return "", err
		}
		b = plain
	}
	if j.src.gbk {
		plain, ok := decode.GBK(b)
		if !ok {
			return "", errNotGBK
		}
		b = plain
	}
	return valid(decode.StripText(string(b))), nil
}

// maxField bounds what one field's packed value may be, in bytes.
const maxField = 64 << 10

var errNotGBK = errors.New("it is not GBK")

// valid replaces what is not UTF-8: everything that leaves here is.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// value is a field's canonical value for a read: a group of the pattern, or what
// its rule finds, decoded and put through the table of values.
func (j *job) value(f field, rd *read) (v found, ok bool, bad *problem) {
	if g := rd.groups[f]; g != "" {
		v, ok = found{text: g, from: "group " + f.String() + " of pattern"}, true
	} else if v, ok = j.find(f, rd.el, rd.keys); ok && v.text != "" {
		if v.text, v.from, bad = j.decoded(f, v); bad != nil || v.text == "" {
			return v, false, bad
		}
	}
	if !ok {
		return v, false, nil
	}
	if f == fieldActionTime && v.text == "" {
		v.text, _ = decode.TimeText(v.node)
	}
	if v.text == "" {
		if j.src.rules[f].implied {
			return v, false, nil // another thing of that name
		}
		return v, false, problemf("bad_field", "%s at %s is an array or an object: let fields.%s of %s point to the value in it",
			f, v.from, f, j.src.name())
	}
	sent := v.text
	if to, hit := j.translate(f, v.text); hit {
		v.text, v.from = to, v.from+", values"
	}
	j.trace.field(f, v.from, sent, v.text)
	return v, v.text != "", nil
}

// translate looks a value up in the field's table.
func (j *job) translate(f field, text string) (string, bool) {
	table := j.src.values[f]
	if to, ok := table[text]; ok {
		return to, true
	}
	to, ok := table["*"]
	return to, ok
}

// decoded is a value as base64 and hex of the source say, and what was done. A value
// within something that was in that form already is plain.
func (j *job) decoded(f field, v found) (text, from string, bad *problem) {
	form := j.src.forms[f]
	if form == decode.Plain || form == v.form || v.node == nil {
		return v.text, v.from, nil
	}
	b, err := form.Decode(v.text)
	if err != nil {
		return "", "", problemf("bad_"+form.String(), "%s at %s is no %s: %s; take %s out of %s of %s if the device sends it plainly",
			f, v.from, form, err, f, form, j.src.name())
	}
	switch text, err = j.plain(b); {
	case errors.Is(err, errNotGBK):
		return "", "", problemf("not_gbk", "what %s at %s holds in %s is not GBK: take encoding out of %s if it is UTF-8", f, v.from, form, j.src.name())
	case err != nil:
		return "", "", problemf("bad_packed", "what %s at %s holds in %s cannot be unpacked: %s", f, v.from, form, err)
	}
	return text, v.from + ", " + form.String(), nil
}

// shown is a device's text as it may stand in a reason: short, long digit runs
// masked.
func shown(s string) string {
	r := []rune(s)
	if len(r) > 40 {
		return scan.MaskDigitRuns(string(r[:40])) + "…"
	}
	return scan.MaskDigitRuns(s)
}
