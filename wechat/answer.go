package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// verdict is what every answer of WeChat may carry. errcode absent is success,
// as stable_token answers.
type verdict struct {
	Code *int   `json:"errcode"`
	Msg  string `json:"errmsg"`
}

// decode reads an answer: WeChat's refusal becomes an *Error, anything else is
// decoded into out. What is no JSON object is a transport fault. The verdict is
// read by itself first, so that an odd field beside it cannot hide a refusal.
func decode(answer []byte, out any) *Error {
	var v verdict
	if err := decodeObject(answer, &v); err != nil {
		return &Error{Status: 200, Sent: true, Err: err}
	}
	if v.Code != nil && *v.Code != 0 {
		msg, rid := splitRID(v.Msg)
		return &Error{Status: 200, Sent: true, Code: *v.Code, Msg: msg, RID: rid}
	}
	if err := decodeObject(answer, out); err != nil {
		return &Error{Status: 200, Sent: true, Err: err}
	}
	return nil
}

// decodeObject decodes a JSON object. Its errors do not quote the answer, which
// may hold a token.
func decodeObject(answer []byte, out any) error {
	answer = bytes.TrimSpace(answer)
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
