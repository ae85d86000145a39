// Package waiting knows which depot waits for the data of which waybill, and
// which of them have come. A ready waybill is told until the depot asks for it,
// as an answer may get lost on the way; after 20 answers only when it is declared
// again.
//
// Of one process it lives in memory; several keep it in their database (shared.go), so that
// a depot may call any of them. Depots declare again when its life is another one, and
// every ten minutes. What is not declared again is forgotten. It must never take
// in more than it can hold, of one depot or of all, nor drop anything uncounted.
package waiting
