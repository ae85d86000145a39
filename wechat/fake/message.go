package fake

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"scanrelay/configs/secret"
	"scanrelay/wechat/callback"
)

// crypt is the message push's Token and key. Requests are made with package
// callback, replies are opened by open: by hand, so that the two sides of one
// mistake cannot cancel out.
type crypt struct {
	*callback.Crypt
	token, appid string
	key          []byte
}

func newCrypt(token, aesKey, appid string) (*crypt, error) {
	c, err := callback.NewCrypt(secret.Text(token), secret.Text(aesKey), appid)
	if err != nil {
		return nil, err
	}
	key, err := looseKey(aesKey)
	if err != nil {
		return nil, err
	}
	return &crypt{Crypt: c, token: token, appid: appid, key: key}, nil
}

// field is one field of a message, in the order in which WeChat writes them.
type field struct {
	name  string
	text  string
	isInt bool
}

func text(name, value string) field { return field{name: name, text: value} }

func integer(name string, value int64) field {
	return field{name: name, text: strconv.FormatInt(value, 10), isInt: true}
}

// event makes the fields of an event message.
func (s *Server) event(name string, more ...field) []field {
	return append([]field{
		text("ToUserName", s.o.UserName), text("FromUserName", TeamOpenID),
		integer("CreateTime", s.o.Now().Unix()), text("MsgType", "event"), text("Event", name),
	}, more...)
}

func encodeFields(f Format, fields []field) []byte {
	if f == XML {
		return encodeXML(fields)
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, fd := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		value := fd.text
		if !fd.isInt {
			value = jsonString(fd.text)
		}
		fmt.Fprintf(&b, "%s:%s", jsonString(fd.name), value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func encodeXML(fields []field) []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	for _, fd := range fields {
		value := fd.text
		if !fd.isInt {
			value = cdata(fd.text)
		}
		fmt.Fprintf(&b, "<%s>%s</%s>", fd.name, value, fd.name)
	}
	b.WriteString("</xml>")
	return b.Bytes()
}

func cdata(s string) string {
	if strings.Contains(s, "]]>") {
		var b bytes.Buffer
		xml.EscapeText(&b, []byte(s)) // a bytes.Buffer returns no error
		return b.String()
	}
	return "<![CDATA[" + s + "]]>"
}

func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encode string: %v", err)) // no string fails
	}
	return string(b)
}

// post is a message on its way to the callback URL.
type post struct {
	query       url.Values
	contentType string
	body        []byte
	nonce       string
}

// wrap makes the POST of a message in the console's mode and format.
func (s *Server) wrap(fields []field) post {
	timestamp, nonce := s.stamp()
	m, f := s.o.Mode, s.o.Format
	p := post{nonce: nonce, contentType: "application/json", query: s.signed(timestamp, nonce)}
	if f == XML {
		p.contentType = "text/xml"
	}
	p.query.Set("openid", TeamOpenID)
	if m == Plain {
		p.body = encodeFields(f, fields)
		return p
	}
	encrypted := s.crypt.Encrypt(random16(), encodeFields(f, fields))
	p.query.Set("encrypt_type", "aes")
	p.query.Set("msg_signature", callback.Sign(s.crypt.token, timestamp, nonce, encrypted))
	if m == Secure {
		fields = []field{text("ToUserName", s.o.UserName)}
	}
	p.body = encodeFields(f, append(fields, text("Encrypt", encrypted)))
	return p
}

// stamp makes a timestamp and a nonce.
func (s *Server) stamp() (timestamp, nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strconv.FormatInt(s.o.Now().Unix(), 10), strconv.FormatUint(uint64(s.rng.Uint32()), 10)
}

// signed makes the query that every message has: signature, timestamp, nonce.
func (s *Server) signed(timestamp, nonce string) url.Values {
	return url.Values{
		"signature": {callback.Sign(s.crypt.token, timestamp, nonce)},
		"timestamp": {timestamp}, "nonce": {nonce},
	}
}

func random16() (b [16]byte) {
	rand.Read(b[:]) // never fails
	return b
}
