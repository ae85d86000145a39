package callback

import (
	_ "embed"
	"encoding/json"
	"testing"

	"scanrelay/wechat"
)

//go:embed testdata/wechat-official.json
var officialJSON []byte

// official is WeChat's published worked examples.
var official = func() (v struct {
	Token, Appid   string
	EncodingAESKey string                                                `json:"encoding_aes_key"`
	URLCheck       struct{ Signature, Timestamp, Nonce, Echostr string } `json:"url_check"`
	Plain          struct {
		Signature, Timestamp, Nonce string
		Body                        json.RawMessage
	}
	SecureRequest struct {
		Signature    string
		MsgSignature string `json:"msg_signature"`
		Timestamp    string
		Nonce        string
		OpenID       string
		EncryptType  string `json:"encrypt_type"`
		ToUserName   string `json:"to_user_name"`
		Encrypt      string
		Random       string
		Message      string
	} `json:"secure_request"`
	SecureReply struct {
		Random       string
		Message      string
		Timestamp    int64
		Nonce        string
		Encrypt      string
		MsgSignature string `json:"msg_signature"`
	} `json:"secure_reply"`
}) {
	if err := json.Unmarshal(officialJSON, &v); err != nil {
		panic(err)
	}
	return v
}()

func officialCrypt(t testing.TB) *Crypt {
	t.Helper()
	c, err := NewCrypt(wechat.Secret(official.Token), wechat.Secret(official.EncodingAESKey), official.Appid)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func random16(t testing.TB, s string) [16]byte {
	t.Helper()
	if len(s) != 16 {
		t.Fatalf("random has %d bytes", len(s))
	}
	return [16]byte([]byte(s))
}

func TestOfficialVectors(t *testing.T) {
	c := officialCrypt(t)
	in, out := official.SecureRequest, official.SecureReply

	if got := c.Sign(official.URLCheck.Timestamp, official.URLCheck.Nonce); got != official.URLCheck.Signature {
		t.Errorf("url check signature = %s", got)
	}
	if got := c.Sign(official.Plain.Timestamp, official.Plain.Nonce); got != official.Plain.Signature {
		t.Errorf("plain signature = %s", got)
	}
	if got := c.Sign(in.Timestamp, in.Nonce); got != in.Signature {
		t.Errorf("secure signature = %s", got)
	}
	if got := c.Sign(in.Timestamp, in.Nonce, in.Encrypt); got != in.MsgSignature {
		t.Errorf("secure msg_signature = %s", got)
	}
	msg, err := c.Decrypt(in.Encrypt)
	if err != nil || string(msg) != in.Message {
		t.Errorf("Decrypt = %q, %v", msg, err)
	}
	if got := c.Encrypt(random16(t, in.Random), []byte(in.Message)); got != in.Encrypt {
		t.Errorf("Encrypt of the request = %s", got)
	}
	if got := c.Encrypt(random16(t, out.Random), []byte(out.Message)); got != out.Encrypt {
		t.Errorf("Encrypt of the reply = %s", got)
	}
	if got := c.Sign("1713424427", out.Nonce, out.Encrypt); got != out.MsgSignature {
		t.Errorf("reply msg_signature = %s", got)
	}
}
