// Package uplink brings events out of the depot: the sync relay carries them
// from the outbox to the centre, the push relay from the outbox to WeChat.
//
// It owns the retry policy, the rate, the pauses and the state of WeChat, the
// order of the gate and what each answer means. It must never push a node that
// the centre has not durably taken (I2), never ask WeChat for a token, never
// keep an event anywhere but in the outbox, and never log waybill data.
//
// # The sync relay
//
// One goroutine (sync.go) makes one call at a time. A call carries what is
// unsynced, in sequence order (request.go), and whatever else there is to tell
// or to ask; its answer is applied at once (apply.go): ended events are settled
// and the watermark rises in one call of the outbox, waybill data and bindings
// go into memory (answers.go, bindings.go), the token and the rate to the push
// relay (token.go, valve.go). A batch that the centre refuses is narrowed down
// to the culprit (narrow.go). Nodes of a waybill whose reverse lookup went wrong
// are sent again (resync.go). What waits for waybill data is declared (waits.go).
//
// # The push relay
//
// One goroutine (push.go) leases records and takes them through the gate
// (gate.go, admit.go), in this order: muted, expired, superseded,
// awaiting_waybill. What passes goes to one of notify.concurrency workers
// (worker.go), who learn whether the phone is bound (query.go) and push. A
// worker holds its place until the outbox has committed the outcome, which is
// what bounds double pushes (I7).
//
// Every answer of WeChat becomes a verdict in outcome.go, the only such switch.
// The valve (valve.go, lane.go) knows when calls may be made, how fast, and why
// not. Where scan meets WeChat's wire types is convert.go.
//
// # What is durable
//
// Nothing here: answers, bindings, pauses and the token live in memory and are
// learned again after a restart. The watermark and the outcomes are the outbox's.
package uplink
