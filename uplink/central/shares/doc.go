// Package shares divides the fleet's rate among the depots by their need. What
// was handed out and not given back is never handed out again, so the sum stays
// within the rate but for a twentieth of an even share, which a depot gets at
// once even where the others have not yet given theirs back.
//
// A fifth of the rate goes to all alike, so that a new scan need not wait for
// another sync; the rest goes by backlog, of which no more counts than the whole rate
// pushes in a second. A depot that is silent for 30 s gives
// its share back.
//
// Where a centre has several processes each shares out a part ([Processes]): the parts never
// come to more than the rate, whichever process comes, dies or is cut off.
package shares
