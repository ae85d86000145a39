package mapping

import (
	"cmp"
	"slices"
	"strings"

	"scanrelay/agent/scan"
)

// Explanation shows what a payload becomes and why, for `scanrelay check
// --payload`.
type Explanation struct {
	Topic string `json:"topic"`
	// Source is the place of the source that takes the message, 0 the first;
	// -1: none does.
	Source  int               `json:"source"`
	Filter  string            `json:"filter"`
	Decoder string            `json:"-"`
	Reads   []ReadExplanation `json:"reads"`
	Batch   scan.Batch        `json:"-"`
	current int               // the read whose fields come now; -1: none
	reveal  bool              // nothing is masked
}

// ReadExplanation is one read, or with Index -1 the whole message.
type ReadExplanation struct {
	Index   int                `json:"index"`
	Outcome string             `json:"outcome"` // event, ignored or rejected
	Reason  string             `json:"reason"`  // why, where it is no event
	EventID string             `json:"event_id,omitempty"`
	Fields  []FieldExplanation `json:"fields"`
	Event   *scan.Event        `json:"-"`
}

// FieldExplanation tells where one field's value came from; the Event has the
// content unmasked.
type FieldExplanation struct {
	Field string `json:"field"`
	Value string `json:"value"`
	From  string `json:"from"`           // the place, and what was done with it
	Sent  string `json:"sent,omitempty"` // as the device sent it, where that differs
}

// Explain maps a message as Map does and says where each value came from. It
// changes nothing: a birth message is not remembered. What a device says is masked
// unless reveal is set: names, phones and addresses may stand anywhere.
func (m *Mapper) Explain(topic string, payload []byte, info Info, reveal bool) *Explanation {
	e := &Explanation{Source: -1, Reads: []ReadExplanation{}, current: -1, reveal: reveal}
	e.Batch = m.run(topic, payload, info, e)
	slices.SortStableFunc(e.Reads, func(a, b ReadExplanation) int { return cmp.Compare(a.Index, b.Index) })
	return e
}

// A nil *Explanation takes the same calls and does nothing: that is how Map runs.

func (e *Explanation) start(topic string, s *source) {
	if e == nil {
		return
	}
	e.Topic = topic
	if s != nil {
		e.Source, e.Filter, e.Decoder = s.index, s.cfg.Topic, s.decoder
	}
}

// read begins the fields of a read.
func (e *Explanation) read(el *element) {
	if e == nil {
		return
	}
	e.begin(el.index)
}

func (e *Explanation) begin(index int) {
	e.Reads = append(e.Reads, ReadExplanation{Index: index, Fields: []FieldExplanation{}})
	e.current = len(e.Reads) - 1
}

func (e *Explanation) field(f field, from, sent, value string) {
	if e == nil || e.current < 0 {
		return
	}
	if sent == value {
		sent = ""
	}
	e.note(FieldExplanation{Field: f.String(), Value: e.masked(f, from, value), From: from, Sent: e.masked(f, from, sent)})
}

// supplied notes what a station supplies: the configuration has it, no device.
func (e *Explanation) supplied(f field, station, value string) {
	if e != nil && e.current >= 0 {
		e.note(FieldExplanation{Field: f.String(), Value: value, From: "station " + station})
	}
}

func (e *Explanation) note(shown FieldExplanation) {
	r := &e.Reads[e.current]
	if last := len(r.Fields) - 1; last >= 0 && r.Fields[last].Field == shown.Field {
		r.Fields[last] = shown // what was found was then replaced
		return
	}
	r.Fields = append(r.Fields, shown)
}

// traceWaybill shows where the number was.
func (j *job) traceWaybill(rd *read) {
	sent := ""
	if rd.sent != string(rd.waybill) {
		sent = rd.sent
		if j.trace != nil && !j.trace.reveal { // else it may be about a person
			sent = scan.MaskNames(keyOf(rd.from), shown(sent))
		}
	}
	j.trace.field(fieldWaybill, rd.from, sent, string(rd.waybill))
}

// masked hides what is, or may be, about a person.
func (e *Explanation) masked(f field, from, text string) string {
	switch {
	case e.reveal || f == fieldWaybill || strings.HasPrefix(from, "="): // the last is the configuration's
		return text
	case f == fieldPickupName || f == fieldDeliveryName:
		return scan.Private(text).String()
	case f == fieldPickupPhone || f == fieldDeliveryPhone:
		return scan.Phone(text).String()
	case f == fieldActionMsg:
		return scan.Text(text).String()
	case f == fieldEventID || f == fieldActionTime:
		return scan.MaskNames(keyOf(from), text) // whose digits are no phone's
	default:
		return scan.MaskDigitRuns(scan.MaskNames(keyOf(from), text))
	}
}

// keyOf is the device's key in a place, without our own words.
func keyOf(from string) string {
	key, _, _ := strings.Cut(from, ", ")
	return strings.TrimSuffix(strings.TrimPrefix(key, "the text"), " of the message")
}

// end tells what became of a read; el is nil for the whole message.
func (e *Explanation) end(el *element, outcome, reason string, ev *scan.Event) {
	if e == nil {
		return
	}
	if e.current < 0 {
		index := -1
		if el != nil {
			index = el.index
		}
		e.begin(index)
	}
	r := &e.Reads[e.current]
	if !e.reveal {
		reason = scan.MaskPayload(reason)
	}
	r.Outcome, r.Reason = outcome, reason
	if ev != nil {
		copied := *ev
		r.Event, r.EventID = &copied, ev.EventID
	}
	e.current = -1
}
