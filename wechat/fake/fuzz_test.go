package fake

import (
	"encoding/json"
	"os"
	"testing"

	"scanrelay/wechat"
)

// The decoders of outside input must neither panic nor take what they refuse.

func FuzzReadReply(f *testing.F) {
	f.Add("json", []byte(`{"ToUserName":"o","FromUserName":"gh_","CreateTime":1790000100,"MsgType":"event","Event":"waybill_notify_query",`+
		`"ResultCode":0,"ResultMsg":"OK","WaybillCreateTime":1789995000,"Path":[{"ActionTime":1790000000,"ActionType":300002,"ActionMsg":"派件中"}]}`))
	f.Add("xml", []byte("<xml><ToUserName>o</ToUserName><CreateTime>1790000100</CreateTime><ResultCode>0</ResultCode><ResultMsg><![CDATA[OK]]></ResultMsg>"+
		"<Path><ActionTime>1790000000</ActionTime><ActionType>300002</ActionType></Path><Path></Path></xml>"))
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
	f.Add([]byte(`{"waybill_id":"YT6900634716900","create_time":1789995000,` +
		`"sender":{"province":"浙江省","city":"绍兴市","area":"柯桥区"},` +
		`"receiver":{"name":"李四","phone":"13800138000","province":"福建省","city":"泉州市","area":"晋江市"},` +
		`"path":{"action_time":1790000000,"action_type":300002,"action_msg":"派件中"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, problem, ok := readNotification(body)
		if ok && problem == "" && (n.WaybillID == "" || n.Receiver.Phone == "" || !wechat.KnownAction(n.Path.ActionType) || n.CreateTime == 0) {
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
