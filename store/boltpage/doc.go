// Package boltpage looks at a bbolt file's pages before bbolt does, and opens
// bbolt files with care.
//
// bbolt has no checksums but those of its two meta pages. A page that makes no
// sense makes it panic, now and then in a goroutine of its own, where nothing
// can catch it, or go in circles. So [File] walks the pages without bbolt, each
// once: no child process and no time limit are needed. What it finds nothing
// wrong with bbolt opens, reads and writes without dying: TestPagesAgreeWithBolt
// and TestAcceptedPagesAgreeWithBolt hold that. It does not look into values.
//
// It knows nothing of what is kept in a file, and must never write to one.
package boltpage
