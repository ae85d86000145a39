// Package postgres is the snapshot of a centre of several processes, in
// PostgreSQL 15 or one of its distributed kin. README.md has the tables, how they
// are distributed, and what happens while the database is away.
//
//	Merge, Import ─► committer: takes all that wait
//	                   │ load      numberings, waybills, answers, bindings: one round trip, or two, three
//	                   │ judge     what changes (pure)
//	                   │ write     all that changed, if nobody changed it since: one round trip
//	                   ▼ answer
//
// Nothing is locked while it judges. A state has a version; a write that meets
// another version than was read changes nothing, and the group is judged again. So
// two processes that take the same waybill at once answer as one would.
//
// It promises what package snapshot does: an answer is given after the commit. It
// must never trust its memory for an answer to a depot, run a statement that is not
// in statements.go, or put a value into one's text.
package postgres
