// Package sync is the sync relay: it brings events from the outbox to the
// centre, and to the push relay what the centre says.
//
// One goroutine makes one call at a time. A call carries what is unsynced, in
// sequence order, and whatever else there is to tell or to ask (request.go). Its
// answer is applied at once (apply.go): numbering first, then waybill data and
// bindings, then the events, of which the ended ones are settled in the same
// commit that lifts the watermark, then the questions of the push relay. A batch
// that the centre refuses is narrowed down to the culprit (narrow.go). Nodes of a
// waybill whose reverse lookup went wrong are sent again (resync.go). What waits
// for waybill data is declared (declare.go).
//
// The watermark only covers what the centre answered, which is after its fsync:
// the push relay cannot lease an event before. The relay must never log waybill
// data, nor drop an event because of what the centre says of the numbering.
//
// The protocol is described in the README of package uplink.
package sync
