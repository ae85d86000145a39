// Package boltpage looks at a bbolt file's pages before bbolt does, reads files
// without it, and opens them in it with care.
//
// bbolt has no checksums but those of its two meta pages. A page that makes no
// sense makes it panic, now and then in a goroutine of its own, where nothing
// can catch it, or go in circles. So [File] walks the pages without bbolt, each
// once: no child process and no time limit are needed. What it finds nothing
// wrong with bbolt opens, reads and writes without dying: TestPagesAgreeWithBolt
// and TestAcceptedPagesAgreeWithBolt hold that. It does not look into values.
// What is only read is read by [Tree], which looks at each page as it comes to it,
// and never by bbolt.
//
// [Finder] reads single keys and runs of them in the same way, also while bbolt
// has the file open: no page is believed unseen, and none is read through a map. Of
// one transaction several may share what they [Kept].
//
// It knows nothing of what is kept in a file, and must never write to one.
package boltpage
