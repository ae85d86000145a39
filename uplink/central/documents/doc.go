// Package documents is how rooms of the centre keep small records that all its processes
// share: named texts in JSON, each with a version, of which several are put together or
// none. The snapshot's database has such a [Table], or for one process identity's journal.
//
// It promises that of two who change the same record one sees what the other has put
// ([Change]), and that a record which was damaged is not taken for one: [Seal] ends it in a
// sum. It knows nothing of what the records say.
package documents
