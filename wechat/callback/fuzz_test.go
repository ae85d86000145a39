package callback

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"
)

// seeds are whole messages, right and wrong.
func seeds(f *testing.F) {
	f.Helper()
	f.Add([]byte(Official.SecureRequest.Message))
	for _, body := range []string{
		`{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1714037059,"MsgType":"event","Event":"waybill_notify_query","WaybillId":"YT1","SenderPhone":"1","ReceiverPhone":"2"}`,
		`<xml><ToUserName><![CDATA[gh_1]]></ToUserName><MsgType>event</MsgType><Event>waybill_notify_query</Event><WaybillId>YT1</WaybillId></xml>`,
		`{"ToUserName":"gh_1","Encrypt":"` + Official.SecureRequest.Encrypt + `"}`,
		`{"a":[{"b":[1,2.5e3,null,true]}],"WaybillId":12345678901234567890}`, `{"Encrypt":"a","\u0045ncrypt":"b"}`, `{}`, `{"a":`,
		`<?xml version="1.0" encoding="UTF-8"?><xml><a><b/></a><Event>&lt;&#65;</Event></xml>`, `<!DOCTYPE x [<!ENTITY e "y">]><xml>&e;</xml>`,
		`<xml><Encrypt>a<![CDATA[b]]></Encrypt><x:Encrypt xmlns:x="y"/></xml>`, `<xml>`,
	} {
		f.Add([]byte(body))
	}
}

// checkDecoded holds whatever was decoded against what the handler relies on.
func checkDecoded(t *testing.T, body []byte, m message, err error) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, errBody) {
			t.Errorf("error %v is no errBody", err)
		}
		return
	}
	for name, value := range m {
		if !wanted[name] || len(value) > len(body) {
			t.Errorf("%s is longer than the body it came in", name)
		}
	}
}

func FuzzDecodeJSON(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeJSON(body)
		if utf8.Valid(body) { // decode has refused all else: bad UTF-8 grows when replaced
			checkDecoded(t, body, m, err)
		}
	})
}

func FuzzDecodeXML(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeXML(body)
		checkDecoded(t, body, m, err)
		if err == nil && bytes.Contains(body, []byte("<!DOCTYPE")) && !bytes.Contains(body, []byte("CDATA")) {
			t.Error("a DOCTYPE was taken")
		}
	})
}

// FuzzOpenFrame parses decrypted frames: no length may make it slice wrongly,
// and what is taken encodes to the same frame again.
func FuzzOpenFrame(f *testing.F) {
	const appid = "wx1"
	f.Add([]byte(nil))
	f.Add(make([]byte, 32))
	f.Add(bytes.Repeat([]byte{32}, 32))
	for _, size := range []uint32{0, 5, 8, 1<<31 - 1, 1 << 31, 1<<32 - 20, 1<<32 - 1} {
		f.Add(pad(frameOf(size, "hello", appid)))
		f.Add(frameOf(size, "hello", appid))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := openFrame(data, appid)
		if err != nil {
			return
		}
		again := append(bytes.Clone(data[:randomSize]), frameOf(uint32(len(msg)), string(msg), appid)[randomSize:]...)
		padding := data[len(again):]
		if !bytes.HasPrefix(data, again) || len(padding) < 1 || len(padding) > padBlock || int(padding[0]) != len(padding) {
			t.Errorf("took % x", data)
		}
	})
}

// FuzzDecrypt takes anything for an encrypted text.
func FuzzDecrypt(f *testing.F) {
	c := officialCrypt(f)
	f.Add(Official.SecureRequest.Encrypt)
	f.Add(Official.SecureReply.Encrypt)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if msg, err := c.Decrypt(s); err == nil && len(msg) > len(s) {
			t.Errorf("%d bytes out of %d characters", len(msg), len(s))
		}
	})
}
