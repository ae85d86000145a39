// Package wechat speaks WeChat's waybill push by phone number (手机号物流消息推送)
// as its documents describe it: the access token, userquery, pathnotify, the
// quota. It owns the wire types, the HTTP transport, the typed Error and the
// table of error codes, and it keeps secrets out of everything that is printed.
//
// Besides the standard library it uses configs/secret and configs/wait only, and
// must never: decide what happens to an event (that is uplink's), retry a call,
// keep a token, or log waybill data. The protocol is written down in README.md.
// The callback, where WeChat calls us, is package wechat/callback.
//
// # A call
//
// Every method of Client is one HTTP request with a time limit of its own. What
// comes back is either an answer or an *Error, whose Class says what to do next:
//
//	Success    done
//	BadToken   get a fresh token, try again at once
//	Transient  retry with backoff
//	Mismatch   sync the waybill again, then retry, a few times
//	Throttled  pause this API until the limit resets; RetryAfter if WeChat said
//	Permanent  a dead letter at once
//	Blocked    stop calling, raise the alarm, probe now and then
//	Unknown    as Mismatch, counted under its own number
//
// pathnotify is not idempotent: Error.Sent tells whether the request may have
// reached WeChat although no answer came.
//
// # Secrets
//
// WeChat wants the access token in the URL, so every *url.Error carries it. All
// errors leave this package through Redact, and redact_test.go holds every
// failure of every call against that promise.
package wechat
