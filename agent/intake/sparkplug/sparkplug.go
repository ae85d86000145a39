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

// Errors of payloads.
var (
	ErrFormat   = errors.New("not Sparkplug B") // or the topic is none of it
	ErrTooLarge = fmt.Errorf("metrics whose names, as their birth has them, take more than %d MiB", maxNames>>20)
)

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
	// Body says for people what its body is, which belongs to an application of
	// which nothing is known here; "": it has none.
	Body string

	uuid string
	body []byte
}

// compressed is the uuid of a payload whose body holds the one that is meant.
const compressed = "SPBV1.0_COMPRESSED"

// Parse reads a Sparkplug B payload; one that is compressed may be limit bytes
// once it is unpacked.
func Parse(b []byte, limit int) (Payload, error) {
	p, err := parse(b)
	switch {
	case err != nil:
		return p, err
	case p.uuid != compressed:
		p.sayBody()
		return p, nil
	}
	plain, err := p.unpack(limit)
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	inner, err := parse(plain)
	if err != nil {
		return p, fmt.Errorf("%w within a compressed one", err)
	}
	if inner.uuid == compressed {
		return p, fmt.Errorf("%w: compressed twice", ErrFormat)
	}
	if !inner.HasSeq {
		inner.Seq, inner.HasSeq = p.Seq, p.HasSeq
	}
	if inner.Timestamp == 0 {
		inner.Timestamp = p.Timestamp
	}
	inner.sayBody()
	return inner, nil
}

func (p *Payload) sayBody() {
	if len(p.body) > 0 {
		p.Body = fmt.Sprintf("a body of %d bytes of the kind %.40q", len(p.body), p.uuid)
	}
}

// unpack returns the payload that the body holds: in gzip or, as its metric
// algorithm says, in deflate, with zlib's frame or without.
func (p *Payload) unpack(limit int) ([]byte, error) {
	plain, how, err := decode.Unpack(p.body, limit)
	if how != "" {
		return plain, err
	}
	for _, m := range p.Metrics {
		if m.Name == "algorithm" && !strings.EqualFold(string(m.bytes), "deflate") {
			return nil, fmt.Errorf("compressed by %.20q: gzip and deflate are read", m.bytes)
		}
	}
	return decode.Inflate(p.body, limit)
}

// parse reads a payload as it stands.
func parse(b []byte) (p Payload, err error) {
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
		case f.number == 4 && f.wire == wireBytes:
			p.uuid = string(f.bytes)
		case f.number == 5 && f.wire == wireBytes:
			p.body = f.bytes
		case f.number <= 5:
			return p, fmt.Errorf("%w: field %d of another type than it has", ErrFormat, f.number)
		}
	}
	return p, nil
}

// wires are the wire types of a metric's fields. A value of another one would
// otherwise be read as nothing.
var wires = map[uint64]uint64{
	1: wireBytes, 2: wireVarint, 3: wireVarint, 4: wireVarint, 5: wireVarint, 7: wireVarint,
	10: wireVarint, 11: wireVarint, 12: wireFixed32, 13: wireFixed64, 14: wireVarint, 15: wireBytes, 16: wireBytes,
	fieldDataSet: wireBytes, fieldTemplate: wireBytes,
}

func metric(b []byte) (m Metric, err error) {
	for len(b) > 0 {
		var f protoField
		if f, b, err = nextField(b); err != nil {
			return m, err
		}
		if want, known := wires[f.number]; known && f.wire != want {
			return m, fmt.Errorf("field %d of another type than it has", f.number)
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
		case 6, 8, 9: // transient, what it is about, its properties
		default:
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

	typeInt8Array    = 22 // then of 16, 32, 64 bits, and the unsigned ones
	typeUInt64Array  = 29
	typeFloatArray   = 30
	typeDoubleArray  = 31
	typeBooleanArray = 32
	typeStringArray  = 33
	typeTimeArray    = 34
)

// Value fields that hold more than one value.
const (
	fieldDataSet  = 17
	fieldTemplate = 18
)

// maxTemplates bounds how deep templates are nested.
const maxTemplates = 8

// value returns a metric's value; a template is an object of its metrics, a data
// set an array of its rows as objects. What cannot be read is Unreadable, and
// only what the metric says is nothing is null. datatype is the birth's where the
// metric has none of its own.
func (r *room) value(m *Metric, datatype uint32, depth int) decode.Node {
	if m.Datatype != 0 {
		datatype = m.Datatype
	}
	switch {
	case m.Null:
		return decode.Node{}
	case m.field == 16 && datatype >= typeInt8Array && datatype <= typeTimeArray:
		return r.array(m.bytes, datatype)
	case m.field == fieldDataSet:
		return r.dataSet(m.bytes)
	case m.field == fieldTemplate:
		return r.template(m.bytes, depth+1)
	default:
		return m.scalar(datatype)
	}
}

// scalar returns a value that is one.
func (m *Metric) scalar(datatype uint32) decode.Node {
	switch m.field {
	case 0:
		return decode.Node{}
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
	default:
		return decode.NewUnreadable(fmt.Sprintf("a value in field %d of its metric", m.field))
	}
}

// template reads a template's metrics, which have names.
func (r *room) template(b []byte, depth int) decode.Node {
	if depth > maxTemplates {
		return decode.NewUnreadable("a template nested too deep")
	}
	var names []string
	var values []decode.Node
	for len(b) > 0 {
		var f protoField
		var err error
		if f, b, err = nextField(b); err != nil {
			return decode.NewUnreadable("a broken template")
		}
		if f.number != 2 || f.wire != wireBytes {
			continue
		}
		m, err := metric(f.bytes)
		if err != nil || len(names) >= maxMetrics {
			return decode.NewUnreadable("a broken template")
		}
		if !r.take(1, 0) {
			return tooMany("a template")
		}
		names, values = append(names, m.Name), append(values, r.value(&m, 0, depth))
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
