// Package journal keeps events and notes in a row of segments, each one bbolt
// file of bounded size, of which the newest is written to and the others are
// only read.
//
// It owns the segments, their registers and keys, the counts of what is in them,
// and the marks beside them. README.md of package store draws the files.
//
// It promises:
//   - what Commit returned from is on disk, and in one transaction;
//   - outcomes find room where intake finds none; a segment is begun when one is
//     full or old, within max_size and what the disk gives;
//   - a segment is unlinked only when all in it is synced, and finished past
//     retain or carried into the newest; its totals are committed before, and its
//     key is destroyed with it;
//   - damage touches one segment: it is found before bbolt could die of it,
//     rebuilt of what can be read, kept aside and named;
//   - a number is never given twice under one epoch.
//
// Verifying has two depths: cheap at a start (the pages that bbolt follows to
// open a file: the branches of a sealed one, all of the newest), and whole (each
// record) on demand, after an unclean stop of the newest, and where damage was
// met.
//
// It must never decide what is pending: it asks (Live). One goroutine, the
// writer, calls what writes; the rest may be called from any.
package journal
