// Package checkpoint says what the files of a journal come to: where every event
// stands that is not finished, and the counts of each segment. What was read once
// is kept in a file, so that a start reads only what came since.
//
// It owns the account, which reads segments one after the other, each note in its
// order, and goes on from any note; and its file. It promises:
//   - an account that was kept, and went on, is the same as one of all the files;
//   - one that does not fit the files, is damaged, cut off, of another store or of
//     another release is not believed (ErrStale, ErrDamaged, ErrNewer): it names the
//     last event and the last note of each segment, and is signed under a key of the
//     store's;
//   - an account that does not fit is set aside: Lost tells how events ended of which
//     the notes are gone, by their numbers, before it is removed;
//   - nothing personal is in it: numbers, times, counts, and a keyed hash of each
//     carried event's waybill.
//
// It must never be what anything is kept in: it can be made again of the segments.
package checkpoint
