// Package journal keeps events and notes in a row of segments, each one bbolt
// file of bounded size, of which the newest is written to and the others are
// only read.
//
// It owns the segments, their registers and keys, the counts of what is in them,
// and the marks and the checkpoint beside them. README.md of package store draws the files.
//
// It promises:
//   - what Commit returned from is on disk, and in one transaction;
//   - outcomes of all that was taken find room, kept before it was: in the newest
//     segment, and in spare ones; a segment is begun when one is full or old, within
//     max_size and what the disk gives;
//   - a segment is unlinked only when all in it is synced, and finished past
//     retain or carried into the newest, aside and in steps; its totals are
//     committed before, and its key is destroyed with it;
//   - dead letters, and what waits for waybill data, fill a quarter of the store each;
//   - damage touches one segment: it is found before bbolt could die of it,
//     rebuilt of what can be read, kept aside and named;
//   - a number is never given twice under one epoch.
//
// Verifying has two depths: cheap at a start (all pages of the newest; of a sealed
// one the meta pages, and the branches, if something in it is unfinished, else aside),
// and whole (each record) on demand, after an unclean stop of the newest, and where damage was
// met.
//
// It must never decide what is pending: it asks (Live). One goroutine, the
// writer, calls what writes; the rest may be called from any.
package journal
