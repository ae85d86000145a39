// Package push is the push relay: it brings events from the outbox to WeChat.
//
// One goroutine, the dispatcher, leases records and takes them through the gate
// in this order: muted, expired, superseded, awaiting_waybill (admit.go). A
// record whose answer from the centre is not fresh becomes a question, which the
// sync relay puts and answers. What passes goes to one of notify.concurrency
// workers (worker.go), who learn whether the phone is bound (query.go) and push.
// Package policy says what an answer means, package valve when calls may be made.
//
// A worker holds its place until the outbox has committed the outcome, so calls
// in flight plus those answered and not committed never exceed
// notify.concurrency: that bounds double pushes after a kill. Of one waybill at
// most one record is leased, the first, so its nodes go out in order.
//
// The relay must never push a node that the centre has not durably taken, never
// keep an event anywhere but in the outbox, and never log waybill data.
package push
