package callback

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// format is JSON or XML; a reply has its request's.
type format string

const (
	formatJSON format = "json"
	formatXML  format = "xml"
)

// message is what we read of a message, in clear or as it came: the fields of
// a reverse lookup and the envelope's Encrypt. All else is skipped.
type message struct {
	ToUserName    string
	FromUserName  string
	MsgType       string
	Event         string
	WaybillID     string
	SenderPhone   string
	ReceiverPhone string
	Encrypt       string

	seen map[string]bool
}

var errBody = errors.New("body")

func badBody(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errBody}, args...)...)
}

// field returns where the value of a field goes; nil if it is none of ours.
// Names count as WeChat writes them: another case is another field.
func (m *message) field(name string) *string {
	switch name {
	case "ToUserName":
		return &m.ToUserName
	case "FromUserName":
		return &m.FromUserName
	case "MsgType":
		return &m.MsgType
	case "Event":
		return &m.Event
	case "WaybillId":
		return &m.WaybillID
	case "SenderPhone":
		return &m.SenderPhone
	case "ReceiverPhone":
		return &m.ReceiverPhone
	case "Encrypt":
		return &m.Encrypt
	}
	return nil
}

// once refuses a field of ours that comes a second time: two readers could
// take two different ones.
func (m *message) once(name string) error {
	if m.seen[name] {
		return badBody("%s comes twice", name)
	}
	if m.seen == nil {
		m.seen = make(map[string]bool, 8)
	}
	m.seen[name] = true
	return nil
}

// isQuery reports whether the message is a reverse lookup.
func (m *message) isQuery() bool {
	return m.MsgType == "event" && strings.EqualFold(m.Event, "waybill_notify_query")
}

// decode reads a message in the format that its first character tells. Errors
// say what is wrong but quote nothing.
func decode(body []byte) (message, format, error) {
	if !utf8.Valid(body) {
		return message{}, "", badBody("not UTF-8")
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return message{}, "", badBody("empty")
	}
	switch body[0] {
	case '{':
		m, err := decodeJSON(body)
		return m, formatJSON, err
	case '<':
		m, err := decodeXML(body)
		return m, formatXML, err
	}
	return message{}, "", badBody("neither JSON nor XML")
}
