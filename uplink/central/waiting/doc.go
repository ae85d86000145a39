// Package waiting knows which depot waits for the data of which waybill, and
// which of them have come. A ready waybill is told until the depot asks for it,
// as an answer may get lost on the way; a depot that does not ask after 20
// answers does not want it any more.
//
// It lives in memory: depots declare again when the centre's process changes. It
// must never take in more than it can hold.
package waiting
