package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// result is what every answer of WeChat may carry. errcode absent is success,
// as stable_token answers.
type result struct {
	Code *int `json:"errcode"`
	Msg  any  `json:"errmsg"` // a string; anything else must not hide the code
}

// decode reads an answer: WeChat's refusal becomes an *Error, anything else is
// decoded into out. What is no JSON object is a transport fault. The result is
// read by itself first, so that an odd field beside it cannot hide a refusal.
func decode(answer []byte, out any) *Error {
	var r result
	if err := decodeObject(answer, &r); err != nil {
		return &Error{Status: 200, Sent: true, Err: err}
	}
	if r.Code != nil && *r.Code != 0 {
		text, _ := r.Msg.(string)
		msg, rid := splitRID(text)
		return &Error{Status: 200, Sent: true, Code: *r.Code, Msg: msg, RID: rid}
	}
	if err := decodeObject(answer, out); err != nil {
		return &Error{Status: 200, Sent: true, Err: err}
	}
	return nil
}

// decodeObject decodes a JSON object. Its errors do not quote the answer, which
// may hold a token.
func decodeObject(answer []byte, out any) error {
	answer = bytes.Trim(answer, " \t\r\n") // what JSON calls space: no more
	if len(answer) == 0 {
		return errors.New("answer is empty")
	}
	if answer[0] != '{' || !json.Valid(answer) {
		return errors.New("answer is no JSON object")
	}
	err := json.Unmarshal(answer, out)
	var bad *json.UnmarshalTypeError
	if errors.As(err, &bad) {
		return fmt.Errorf("answer has a %s that is no %s", bad.Field, bad.Type)
	}
	return err
}
