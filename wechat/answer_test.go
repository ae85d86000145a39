package wechat

import (
	"encoding/json"
	"testing"
)

// FuzzDecode reads any answer: it is an error or an answer, never a panic, and
// no refusal reads as success.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"errcode":0,"errmsg":"ok","exist":1}`, `{"errcode":-1}`, `{"errcode":null}`, `{"errcode":40001,"errmsg":"x rid: 5f9a1b2c-3d4e5f60-7a8b9c0d"}`, `{}`, `[]`, ``, `{"ERRCODE":1}`, `{"errcode":1e3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		var out struct {
			Exist *int `json:"exist"`
		}
		e := decode(answer, &out)
		var v struct {
			Code any `json:"errcode"`
		}
		if e == nil && (json.Unmarshal(answer, &v) != nil || v.Code != nil && v.Code != 0.0) {
			t.Errorf("%q reads as success", answer)
		}
		if e != nil && (e.Class() == Success || len(cleanMsg(e.Msg)) > maxMsg+len("…")) {
			t.Errorf("%q: %v", answer, e)
		}
	})
}
