// Package presence knows when each depot was last heard of since this process
// started, and what it said of itself, and says in the log which of them have fallen silent. An idle depot
// syncs every 5 s; after 30 s without a word it counts as away. It also knows up to which number each depot has ended its events.
package presence
