package central

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// TestWrongPhoneLearnsNothing: to a phone that does not match, a waybill with
// one node and one with a hundred answer in the same words and the same length,
// in every mode: neither its data nor how much there is of it can be told.
func TestWrongPhoneLearnsNothing(t *testing.T) {
	for _, mode := range []callback.Mode{callback.Plain, callback.Compat, callback.Secure} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t, func(o *Options) { o.Config.Callback.Mode = mode })
			now := time.Now().Unix()
			b.importWaybills("SHORTWAY1", "LONGWAY01")
			events := []syncapi.Event{event(1, "SHORTWAY1", now)}
			for n := range 100 {
				events = append(events, event(uint64(n+2), "LONGWAY01", now-int64(100-n)))
			}
			b.sync(tokenHZ, syncapi.Request{Events: events})
			for _, id := range []string{"SHORTWAY1", "LONGWAY01"} {
				if a := b.askBack(mode, id, receiver); len(a) < 250 {
					t.Errorf("%s: the right phone got %d bytes: %s", id, len(a), a)
				}
			}
			short, long := b.askBack(mode, "SHORTWAY1", "13900000000"), b.askBack(mode, "LONGWAY01", "13900000000")
			if len(short) != len(long) {
				t.Errorf("%d and %d bytes: %s %s", len(short), len(long), short, long)
			}
			if mode == callback.Plain && (!strings.Contains(long, `"ResultCode":2`) || !strings.Contains(long, `"Path":[]`) || !strings.Contains(long, `"WaybillCreateTime":0`)) {
				t.Errorf("the wrong phone was told %s", long)
			}
		})
	}
}

// askBack makes one reverse lookup over HTTP.
func (b *bench) askBack(mode callback.Mode, id, phone string) string {
	b.t.Helper()
	msg := fmt.Sprintf(`{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":%d,"MsgType":"event","Event":"waybill_notify_query","WaybillId":%q,"SenderPhone":%q,"ReceiverPhone":%q}`,
		time.Now().Unix(), id, sender, phone)
	cb := testConfig().Callback
	at, nonce := itoa(time.Now().Unix()), "415670741"
	query := "timestamp=" + at + "&nonce=" + nonce + "&signature=" + callback.Sign(cb.Token.Reveal(), at, nonce)
	if mode != callback.Plain {
		sealed := seal(b.t, cb.Token, cb.EncodingAESKey, msg)
		query += "&encrypt_type=aes&msg_signature=" + callback.Sign(cb.Token.Reveal(), at, nonce, sealed)
		body := map[string]string{"ToUserName": "gh_1", "Encrypt": sealed}
		out, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		msg = string(out)
		if mode == callback.Compat {
			msg = strings.Replace(msg, "{", `{"MsgType":"event",`, 1)
		}
	}
	code, out := b.call("POST", "/wechat/callback?"+query, msg)
	if code != 200 {
		b.t.Fatalf("HTTP %d: %s", code, out)
	}
	return out
}

func seal(t testing.TB, token, key secret.Text, msg string) string {
	t.Helper()
	crypt, err := callback.NewCrypt(token, key, testConfig().AppID)
	if err != nil {
		t.Fatal(err)
	}
	var random [16]byte
	rand.Read(random[:])
	return crypt.Encrypt(random, []byte(msg))
}
