package fake

import (
	"encoding/json"
	"os"
	"testing"

	"scanrelay/wechat"
)

// The decoders of outside input must neither panic nor take what they refuse.

func FuzzReadReply(f *testing.F) {
	for _, fm := range formats {
		f.Add(string(fm), encode(fm, goodReply()))
	}
	f.Add("xml", []byte("<xml><Path></Path></xml>"))
	f.Add("xml", []byte("<!DOCTYPE x><xml/>"))
	f.Fuzz(func(t *testing.T, fm string, body []byte) {
		for _, m := range []Mode{Plain, Secure} {
			s, err := New(Options{Mode: m, Format: JSON})
			if err != nil {
				t.Fatal(err)
			}
			s.o.Format = Format(fm)
			s.readReply("1", body, s.event("waybill_notify_query"))
		}
	})
}

func FuzzOpen(f *testing.F) {
	s, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.crypt.Encrypt(random16(), []byte("{}")))
	f.Fuzz(func(t *testing.T, text string) { s.crypt.open(text) })
}

func FuzzReadNotification(f *testing.F) {
	b, err := json.Marshal(goodPush())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, problem, ok := readNotification(body)
		if ok && problem == "" && (n.waybill == "" || n.receiver.Phone == "" || !wechat.KnownAction(n.node.ActionType) || n.createTime == 0) {
			t.Errorf("taken: %+v", n)
		}
	})
}

// WeChat's published example must open with this package's own reading.
func TestOpenPublishedExample(t *testing.T) {
	b, err := os.ReadFile("../callback/testdata/wechat-official.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Token string `json:"token"`
		Key   string `json:"encoding_aes_key"`
		AppID string `json:"appid"`
		Reply struct {
			Message   string      `json:"message"`
			Timestamp json.Number `json:"timestamp"`
			Nonce     string      `json:"nonce"`
			Encrypt   string      `json:"encrypt"`
			Signature string      `json:"msg_signature"`
		} `json:"secure_reply"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	c, err := newCrypt(v.Token, v.Key, v.AppID)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := c.open(v.Reply.Encrypt); err != nil || string(msg) != v.Reply.Message {
		t.Errorf("%q, %v", msg, err)
	}
	if got := signParts(v.Token, v.Reply.Timestamp.String(), v.Reply.Nonce, v.Reply.Encrypt); got != v.Reply.Signature {
		t.Errorf("signature %s, want %s", got, v.Reply.Signature)
	}
}
