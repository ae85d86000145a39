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

// message is what we read of a message, in clear or as it came, by WeChat's
// names. A field that came empty is there, too.
type message map[string]string

// wanted are the fields of a reverse lookup, and the envelope's Encrypt. All
// else is skipped. Names count as WeChat writes them: another case is another
// field.
var wanted = map[string]bool{
	"ToUserName": true, "FromUserName": true, "MsgType": true, "Event": true,
	"WaybillId": true, "SenderPhone": true, "ReceiverPhone": true, "Encrypt": true,
}

var errBody = errors.New("body")

func badBody(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errBody}, args...)...)
}

// set refuses a field that comes a second time: two readers could take two
// different ones.
func (m message) set(name, value string) error {
	if _, twice := m[name]; twice {
		return badBody("%s comes twice", name)
	}
	m[name] = value
	return nil
}

// isQuery reports whether the message is a reverse lookup.
func (m message) isQuery() bool {
	return m["MsgType"] == "event" && strings.EqualFold(m["Event"], "waybill_notify_query")
}

// decode reads a message in the format that its first character tells. Errors
// say what is wrong but quote nothing.
func decode(body []byte) (message, format, error) {
	if !utf8.Valid(body) {
		return nil, "", badBody("not UTF-8")
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, "", badBody("empty")
	}
	switch body[0] {
	case '{':
		m, err := decodeJSON(body)
		return m, formatJSON, err
	case '<':
		m, err := decodeXML(body)
		return m, formatXML, err
	}
	return nil, "", badBody("neither JSON nor XML")
}
