package sparkplug

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"scanrelay/agent/intake/decode"
)

// maxMetrics bounds one Sparkplug payload.
const maxMetrics = 10_000

// ErrFormat: the payload or the topic is no Sparkplug B.
var ErrFormat = errors.New("not Sparkplug B")

// Topic is a topic spBv1.0/<group>/<type>/<node>[/<device>].
type Topic struct {
	Group, Type, Node, Device string
}

// ParseTopic reads a topic; false if it is none of Sparkplug B.
func ParseTopic(topic string) (Topic, bool) {
	p := strings.Split(topic, "/")
	if len(p) < 3 || len(p) > 5 || p[0] != "spBv1.0" {
		return Topic{}, false
	}
	if p[1] == "STATE" {
		return Topic{Type: "STATE", Node: p[2]}, true
	}
	if len(p) < 4 {
		return Topic{}, false
	}
	t := Topic{Group: p[1], Type: p[2], Node: p[3]}
	if len(p) == 5 {
		t.Device = p[4]
	}
	return t, true
}

// Birth reports whether it is that of a birth message.
func (t Topic) Birth() bool { return t.Type == "NBIRTH" || t.Type == "DBIRTH" }

// EdgeNode names the edge node among all.
func (t Topic) EdgeNode() string { return t.Group + "/" + t.Node }

// Source names the edge node or the device that publishes.
func (t Topic) Source() string {
	if t.Device == "" {
		return t.EdgeNode()
	}
	return t.EdgeNode() + "/" + t.Device
}

// Metric is one metric of a payload.
type Metric struct {
	Name       string
	Alias      uint64
	HasAlias   bool
	Timestamp  uint64 // unix milliseconds; 0: none
	Datatype   uint32 // 0: none
	Historical bool
	Null       bool
	field      uint64 // which value field it came in; 0: none
	bits       uint64
	bytes      []byte
}

// Payload is one decoded payload.
type Payload struct {
	Timestamp uint64 // unix milliseconds; 0: none
	Seq       uint64
	HasSeq    bool
	Metrics   []Metric
}

// Parse reads a Sparkplug B payload.
func Parse(b []byte) (p Payload, err error) {
	for len(b) > 0 {
		var f protoField
		if f, b, err = nextField(b); err != nil {
			return p, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		switch {
		case f.number == 1 && f.wire == wireVarint:
			p.Timestamp = f.value
		case f.number == 3 && f.wire == wireVarint:
			p.Seq, p.HasSeq = f.value, true
		case f.number == 2 && f.wire == wireBytes:
			m, err := metric(f.bytes)
			if err != nil {
				return p, fmt.Errorf("%w: metric %d: %w", ErrFormat, len(p.Metrics), err)
			}
			if p.Metrics = append(p.Metrics, m); len(p.Metrics) > maxMetrics {
				return p, fmt.Errorf("%w: more than %d metrics", ErrFormat, maxMetrics)
			}
		}
	}
	return p, nil
}

func metric(b []byte) (m Metric, err error) {
	for len(b) > 0 {
		var f protoField
		if f, b, err = nextField(b); err != nil {
			return m, err
		}
		switch f.number {
		case 1:
			m.Name = string(f.bytes)
		case 2:
			m.Alias, m.HasAlias = f.value, true
		case 3:
			m.Timestamp = f.value
		case 4:
			m.Datatype = uint32(f.value)
		case 5:
			m.Historical = f.value != 0
		case 7:
			m.Null = f.value != 0
		case 10, 11, 12, 13, 14, 15, 16, fieldTemplate:
			m.field, m.bits, m.bytes = f.number, f.value, f.bytes
		}
	}
	return m, nil
}

// Sparkplug's data types that change how a value is read.
const (
	typeInt8  = 1
	typeInt16 = 2
	typeInt32 = 3
	typeInt64 = 4

	typeBoolean = 11
)

// fieldTemplate is the value field of a template: metrics in a metric.
const fieldTemplate = 18

// maxTemplates bounds how deep templates are nested.
const maxTemplates = 8

// Value returns the metric's value; a template is an object of its metrics.
// datatype is the birth's where the metric has none of its own.
func (m *Metric) Value(datatype uint32) decode.Node { return m.value(datatype, 0) }

func (m *Metric) value(datatype uint32, depth int) decode.Node {
	if m.Datatype != 0 {
		datatype = m.Datatype
	}
	if m.Null {
		return decode.Node{}
	}
	switch m.field {
	case 10, 11:
		return integer(m.bits, datatype)
	case 12:
		return float(float64(math.Float32frombits(uint32(m.bits))), 32)
	case 13:
		return float(math.Float64frombits(m.bits), 64)
	case 14:
		return decode.NewBool(m.bits != 0)
	case 15, 16:
		return decode.NewString(string(m.bytes))
	case fieldTemplate:
		return template(m.bytes, depth+1)
	default:
		return decode.Node{}
	}
}

// template reads a template's metrics, which have names; what is broken is null.
func template(b []byte, depth int) decode.Node {
	var names []string
	var values []decode.Node
	for len(b) > 0 {
		var f protoField
		var err error
		if f, b, err = nextField(b); err != nil || depth > maxTemplates {
			return decode.Node{}
		}
		if f.number != 2 || f.wire != wireBytes {
			continue
		}
		m, err := metric(f.bytes)
		if err != nil || len(names) >= maxMetrics {
			return decode.Node{}
		}
		names, values = append(names, m.Name), append(values, m.value(0, depth))
	}
	return decode.NewObject(names, values)
}

// integer reads signed types from their two's complement.
func integer(bits uint64, datatype uint32) decode.Node {
	switch datatype {
	case typeInt8:
		return decode.NewNumber(strconv.Itoa(int(int8(bits))))
	case typeInt16:
		return decode.NewNumber(strconv.Itoa(int(int16(bits))))
	case typeInt32:
		return decode.NewNumber(strconv.Itoa(int(int32(bits))))
	case typeInt64:
		return decode.NewNumber(strconv.FormatInt(int64(bits), 10))
	default:
		return decode.NewNumber(strconv.FormatUint(bits, 10))
	}
}

// float keeps a whole number's digits; what JSON can't write is null.
func float(f float64, bits int) decode.Node {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return decode.Node{}
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return decode.NewNumber(strconv.FormatFloat(f, 'f', 0, bits))
	}
	return decode.NewNumber(strconv.FormatFloat(f, 'g', -1, bits))
}
