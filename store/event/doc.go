// Package event holds the words in which the rooms of the outbox speak to each
// other and to their callers: an event's id, its states, leases and ends, and
// the notes that are kept about it.
//
// It only names things: no files, no locks, no goroutines.
package event
