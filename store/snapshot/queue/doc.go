// Package queue brings the calls of a store's users to its one committer, in groups:
// while one group is written the next collects.
//
// It judges and writes nothing, and must never let a caller go before the committer
// has settled what it took of him.
package queue
