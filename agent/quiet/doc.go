// Package quiet notices that a depot has become quiet: that for an hour at the least no
// scan came in, though at this hour of the day some always did.
//
// It owns quiet.json in data_dir: how many scans came in in each hour of eight days. That
// file is a convenience and no promise: without it three days are learned anew. It never
// counts by a clock that nothing confirms, and nothing but an alarm depends on it.
package quiet
