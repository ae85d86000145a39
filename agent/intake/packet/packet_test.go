package packet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// read reads whatever kind of packet the bytes are.
func read(version byte, data []byte) error {
	r := bufio.NewReader(bytes.NewReader(data))
	h, err := ReadHeader(r)
	if err != nil {
		return err
	}
	content := make([]byte, min(h.Length, 1<<20))
	n, _ := io.ReadFull(r, content)
	content = content[:n]
	switch h.Type {
	case TypeConnect:
		_, err = ReadConnect(content)
	case TypePublish:
		_, err = ReadPublish(version, h.Flags, content)
	case TypePubrel:
		_, err = ReadPubrel(version, content)
	case TypeSubscribe:
		_, err = ReadSubscribe(version, content)
	case TypeUnsubscribe:
		_, err = ReadUnsubscribe(version, content)
	case TypeDisconnect:
		_, _, err = ReadDisconnect(version, content)
	}
	return err
}

// FuzzRead: whatever comes is a packet or an Error.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"\x10\x0f\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01x\x00\x00", "\x10\x1b\x00\x04MQTT\x05\x06\x00\x3c\x05\x11\x00\x00\x0e\x10\x00\x01x\x00\x00\x01t\x00\x01m",
		"\x34\x0a\x00\x03a/b\x00\x01\x00hi", "\x62\x04\x00\x01\x00\x00", "\x82\x07\x00\x01\x00\x00\x01#\x01", "\xa2\x06\x00\x01\x00\x00\x01#",
		"\xe0\x07\x00\x05\x11\x00\x00\x00\x01", "\x30\xff\xff\xff\xff\x7f",
	} {
		f.Add(byte(V5), []byte(seed))
		f.Add(byte(V311), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, version byte, data []byte) {
		var wrong *Error
		if err := read(version, data); err != nil && !errors.As(err, &wrong) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v", err)
		}
	})
}

// What is wrong is told by its code.
func TestWhatIsWrong(t *testing.T) {
	for data, want := range map[string]struct {
		code Code
		text string
	}{
		"\x00\x00":                                      {Malformed, "type 0"},
		"\x36\x00":                                      {Malformed, "QoS 3"},
		"\x81\x00":                                      {Malformed, "flags"},
		"\x30\xff\xff\xff\xff\x7f":                      {Malformed, "four bytes"},
		"\x32\x05\x00\x01a\x00\x00":                     {ProtocolError, "packet id 0"},
		"\x30\x03\x00\x05a":                             {Malformed, "too soon"},
		"\x30\x03\x00\x01\xff":                          {Malformed, "UTF-8"},
		"\x30\x03\x00\x01\x00":                          {Malformed, "U+0000"},
		"\x30\x03\x00\x00\x00":                          {Malformed, "without a topic"},
		"\x30\x04\x00\x01+\x00":                         {BadTopic, "wildcard"},
		"\x30\x06\x00\x01a\x02\x17\x01":                 {ProtocolError, "does not belong"},
		"\x30\x08\x00\x01a\x04\x01\x00\x01\x00":         {ProtocolError, "twice"},
		"\x30\x07\x00\x01a\x03\x23\x00\x01":             {topicAliasInvalid, "alias"},
		"\x82\x03\x00\x01\x00":                          {ProtocolError, "no topic filter"},
		"\x10\x08\x00\x04HTTP\x05\x00":                  {ProtocolError, "no MQTT"},
		"\x10\x08\x00\x04MQTT\x84\x00":                  {UnsupportedVersion, "version"},
		"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00":  {Malformed, "reserved"},
		"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x00x": {Malformed, "too many"},
	} {
		err := read(V5, []byte(data))
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Code != want.code || !strings.Contains(wrong.Text, want.text) {
			t.Errorf("% x: %v, want %#x %s", data, err, want.code, want.text)
		}
	}
}
