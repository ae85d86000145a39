// Package waiting knows which depot waits for the data of which waybill, and
// which of them have come. A ready waybill is told until the depot asks for it,
// as an answer may get lost on the way; after 20 answers only when it is declared
// again.
//
// It lives in memory: depots declare again when its life is another one, and
// every ten minutes. What is not declared again is forgotten. It must never take
// in more than it can hold, of one depot or of all, nor drop anything uncounted.
package waiting
