package callback

import (
	_ "embed"
	"encoding/json"
	"testing"

	"scanrelay/configs/secret"
)

//go:embed testdata/wechat-official.json
var officialJSON []byte

// Official is WeChat's published worked examples.
var Official = readOfficial()

type officialExamples struct {
	Token          string          `json:"token"`
	EncodingAESKey string          `json:"encoding_aes_key"`
	AppID          string          `json:"appid"`
	URLCheck       OfficialRequest `json:"url_check"`
	Plain          OfficialRequest `json:"plain"`
	SecureRequest  OfficialRequest `json:"secure_request"`
	SecureReply    struct {
		Random       string `json:"random"`
		Message      string `json:"message"`
		Timestamp    int64  `json:"timestamp"`
		Nonce        string `json:"nonce"`
		Encrypt      string `json:"encrypt"`
		MsgSignature string `json:"msg_signature"`
	} `json:"secure_reply"`
}

// OfficialRequest is a call of WeChat.
type OfficialRequest struct {
	Signature    string          `json:"signature"`
	MsgSignature string          `json:"msg_signature"`
	Timestamp    string          `json:"timestamp"`
	Nonce        string          `json:"nonce"`
	Echostr      string          `json:"echostr"`
	OpenID       string          `json:"openid"`
	EncryptType  string          `json:"encrypt_type"`
	ToUserName   string          `json:"to_user_name"`
	Body         json.RawMessage `json:"body"`
	Encrypt      string          `json:"encrypt"`
	Random       string          `json:"random"`
	Message      string          `json:"message"`
}

func readOfficial() (v officialExamples) {
	if err := json.Unmarshal(officialJSON, &v); err != nil {
		panic(err)
	}
	return v
}

func officialCrypt(t testing.TB) *Crypt {
	t.Helper()
	c, err := NewCrypt(secret.Text(Official.Token), secret.Text(Official.EncodingAESKey), Official.AppID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
