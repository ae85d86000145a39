package mapping

import (
	"encoding/base64"
	"errors"
	"strings"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// found is a field's value and where it came from.
type found struct {
	text string // stripped, decoded; not yet through the table of values
	node *decode.Node
	from string
}

// find looks a field up by its rule. Nothing, null and the empty text are all
// nothing.
func (j *job) find(f field, el *element) (v found, ok bool) {
	r := j.src.rules[f]
	switch r.kind {
	case ruleLiteral:
		return found{text: r.literal, from: r.String()}, r.literal != ""
	case ruleTopic:
		if r.level >= len(j.levels) {
			return found{}, false
		}
		v = found{text: valid(decode.StripText(j.levels[r.level])), from: r.String()}
		return v, v.text != ""
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

func (j *job) follow(r rule, n *decode.Node) (v found, ok bool) {
	if j.src.decoder == "sparkplug" {
		n, ok = sparkplug.Find(n, r.pointer)
	} else {
		n, ok = n.Find(r.pointer)
	}
	if !ok || n.Kind == decode.Null {
		return found{}, false
	}
	v = found{node: n, from: r.String()}
	if len(r.pointer) == 0 {
		v.from = "the text"
	}
	if text, scalar := n.Text(); scalar {
		v.text = valid(decode.StripText(text))
		return v, v.text != ""
	}
	return v, true
}

// valid replaces what is not UTF-8: everything that leaves here is.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// value is a field's canonical value for a read: a group of the pattern, or what
// its rule finds, decoded and put through the table of values.
func (j *job) value(f field, rd *read) (v found, ok bool, bad *problem) {
	if g := rd.groups[f]; g != "" {
		v, ok = found{text: g, from: "group " + f.String() + " of pattern"}, true
	} else if v, ok = j.find(f, rd.el); ok && j.src.base64[f] && v.node != nil {
		if v.text, bad = j.decodeText(f, v); bad != nil || v.text == "" {
			return v, false, bad
		}
		v.from += ", base64"
	}
	if !ok {
		return v, false, nil
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

func (j *job) decodeText(f field, v found) (string, *problem) {
	text, err := decodeBase64(v.text)
	if err != nil {
		return "", problemf("bad_base64", "%s at %s is no base64: %s; take %s out of base64 of %s if the device sends it plainly",
			f, v.from, err, f, j.src.name())
	}
	if j.src.gbk {
		plain, ok := decode.GBK([]byte(text))
		if !ok {
			return "", problemf("not_gbk", "what %s at %s holds in base64 is not GBK: take encoding out of %s if it is UTF-8", f, v.from, j.src.name())
		}
		text = string(plain)
	}
	return valid(decode.StripText(text)), nil
}

// decodeBase64 reads the standard and the URL alphabet, with or without
// padding, blanks and line ends within.
func decodeBase64(s string) (string, error) {
	s = strings.Join(strings.Fields(s), "")
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	b, err := base64.RawStdEncoding.DecodeString(s)
	var at base64.CorruptInputError
	if errors.As(err, &at) {
		return "", errors.New("it has a character or a length that base64 has not")
	}
	return string(b), err
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
