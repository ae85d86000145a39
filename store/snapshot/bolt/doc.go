// Package bolt keeps the centre's state in two bbolt files, for one process: a
// log, committed per group of batches, and what it came to, merged behind it.
// It owns the files of its folder; ../README.md has their formats.
//
// The committer, one goroutine, owns the log. It takes all calls that wait,
// loads what they touch, has package judge decide, appends a record per decision
// and commits once for all: that fsync is the durability. Then it publishes the
// new states in memory (the tail) and answers. The merger, another goroutine,
// carries the tail into waybills.db in big groups, after which the committer
// begins a log anew that has become big, or was damaged.
//
// A tail entry is a waybill's whole state, so a lookup is one map access or one
// key read, never both mixed. It leaves the tail only after the merge that holds
// it is on disk. States are immutable once published.
//
// At start the tail is rebuilt from the records behind `merged`. Each state
// carries the number of the last record in it, so that a merge which was cut
// short is not applied twice.
//
// What is personal is encrypted (packages datakey and values); wrapped keys are put into
// a file in front of what is encrypted under them, in the same transaction.
//
// A copy is made of a read transaction of each file, which the committer begins
// between two groups.
//
// Both files are read beside bbolt's map. waybills.db is looked at by the merger;
// what is damaged it makes anew in the place of the file, while reads go on, and the
// committer asks the depots for what was lost.
//
// It must never judge by itself, never go on after a failed sync, never let bbolt
// have a page that was not looked at, and never delete a damaged file.
package bolt
