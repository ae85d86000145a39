// Package presence knows when each depot was last heard of, and what it said of itself,
// and says in the log which of them have fallen silent. An idle depot syncs every 5 s;
// after 30 s without a word it counts as away. Several processes of a centre tell each
// other in a table, a depot's words at most each 10 s but for what matters at once
// (shared.go); one process alone keeps all in memory. It also knows, of the syncs of this
// process, up to which number each depot has ended its events.
//
// It must never make a sync wait for the table.
package presence
