// Package judge decides what becomes of events, waybill data and bindings: pure
// functions from what a store has read to what it must commit. Every store of
// package snapshot judges by it, so that all of them answer alike.
//
//	calls ─► Needed, Phones: what to read ─► the store loads Facts
//	      ─► Group.Judge: answers, Records to commit,
//	         and in Changed what the records came to
//
// Calls of one group are judged in order, each on what the ones before it
// changed. It must never read or write anything, look at a clock, or change
// Facts that it was given: a *State and a *Numbering are immutable once the
// group that made them is done.
//
// # The rules
//
// An event is late when the path has a newer node that is not muted; ties are
// not late. Asked again, its own depot's later nodes do not count, as they are
// pushed after it in order. The same identity under another number is a
// duplicate, under the same number of another epoch the same event: its depot lost
// that it was answered; another identity under a known number is a conflict, and nothing of
// its batch is merged.
//
// Imported waybill data beats data that came with a scan; the last import stays,
// and among scans the first. A create_time more than 30 days later begins a new
// life of a reused number: nodes older than create_time less 24 h leave the path.
//
// A parcel's number has a mother: its scans are nodes of the mother's path, make
// none late, and are answered late, so that the mother's own are pushed. What was
// scanned under the number before moves there.
//
// A depot's have rises over its epochs; what lies between have and a number that
// is taken is a gap. It falls to nothing where the store lost something. A binding counts by the time it was seen, the newest stays.
//
// That a store was put back from a backup, and of which time it then knows nothing, is
// what two depots say that were answered for more than it has, see Lost.
//
// What may be forgotten is decided on evidence, see Horizon: no clock alone can
// make anything old.
package judge
