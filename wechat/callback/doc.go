// Package callback is where WeChat calls us (消息推送, wechat/README.md,
// Callback): it checks and decrypts what comes, asks a Lookup about the waybill and sends the
// answer back in the same format. All six combinations of plain, compat and
// secure with JSON and XML work.
//
// It knows nothing of the snapshot, keeps no state between calls but counters,
// opens no listener, and must never log or return anything about a request that
// does not verify.
//
// # One call's way
//
//	handler.go   method, time and size limits, one response per call
//	verify.go    parameters, signature, the configured mode's form, decryption
//	crypt.go     AES, padding, the frame; sign.go the signatures
//	message.go   fields out of json.go or xml.go, both strict and bounded
//	query.go     the reverse lookup, shed under overload
//	reply.go     the answer, encrypted where the mode asks for it
//
// # What is refused
//
// Whatever does not verify, or has not the configured mode's form, is answered
// 403 with an empty body, alike. Messages are taken more than once: WeChat asks
// again with the same signature when we were slow, and it is only a question.
package callback
