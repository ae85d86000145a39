package mapping

import (
	"cmp"
	"slices"

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

// FieldExplanation tells where one field's value came from. What is about a
// person is masked; the Event has the content.
type FieldExplanation struct {
	Field string `json:"field"`
	Value string `json:"value"`
	From  string `json:"from"`           // the place, and what was done with it
	Sent  string `json:"sent,omitempty"` // as the device sent it, where that differs
}

// Explain maps a message as Map does and says where each value came from. It
// changes nothing: a birth message is not remembered.
func (m *Mapper) Explain(topic string, payload []byte, info Info) *Explanation {
	e := &Explanation{Source: -1, Reads: []ReadExplanation{}, current: -1}
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
	r := &e.Reads[e.current]
	shown := FieldExplanation{Field: f.String(), Value: masked(f, value), From: from, Sent: masked(f, sent)}
	if last := len(r.Fields) - 1; last >= 0 && r.Fields[last].Field == shown.Field {
		r.Fields[last] = shown // what was found was then replaced
		return
	}
	r.Fields = append(r.Fields, shown)
}

// traceWaybill shows where the number was. What else the device said there may be
// about a person.
func (j *job) traceWaybill(rd *read) {
	sent := ""
	if rd.sent != string(rd.waybill) {
		sent = shown(rd.sent)
	}
	j.trace.field(fieldWaybill, rd.from, sent, string(rd.waybill))
}

// masked hides what is about a person.
func masked(f field, text string) string {
	switch {
	case !f.private():
		return text
	case f == fieldPickupName || f == fieldDeliveryName:
		return scan.Private(text).String()
	case f == fieldPickupPhone || f == fieldDeliveryPhone:
		return scan.Phone(text).String()
	default:
		return scan.MaskDigitRuns(text)
	}
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
	r.Outcome, r.Reason = outcome, reason
	if ev != nil {
		copied := *ev
		r.Event, r.EventID = &copied, ev.EventID
	}
	e.current = -1
}
