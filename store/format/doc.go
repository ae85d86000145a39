// Package format is one file of the journal: its name, its buckets, its head,
// the state that it keeps of the whole outbox, its records some at a time, and spare
// ones.
//
// It owns the layout of a segment (README.md of package store draws it) and how
// one is made, whole or not at all. It promises that what it reads of an earlier
// release is understood, and that a file of a later one is durable.ErrNewer. It
// must never know of the row of segments, of what is pending, or of whence keys are.
package format
