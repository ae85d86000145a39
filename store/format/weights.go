package format

import (
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
)

const (
	// OutcomeReserve is what is kept free for each unfinished event, from before it
	// is acknowledged, so that it can always end: in the newest segment and in the
	// spare ones, whose blocks the file system gave already. A note takes it as
	// event.Note.Brief leaves it.
	OutcomeReserve = 128
	// ReaderReserve is kept beside: while somebody reads, commits cannot use pages
	// again.
	ReaderReserve = 256 << 10
	// DiskMargin is left to other files on the disk.
	DiskMargin = 1 << 20
)

// Growth is by how much records of so many bytes let a file grow, about.
func Growth(bytes int) int64 { return int64(bytes) * 11 / 10 }

// RecordOverhead is the room in bytes of a key and a leaf element.
const RecordOverhead = 8 + 16

// EventWeight is what an encoded event takes in a segment, in bytes, about. A
// large record does not share its pages well.
func EventWeight(framed []byte) int {
	n := len(framed) + crypt.Overhead + RecordOverhead
	if n > boltpage.PageSize/4 {
		n = (n/boltpage.PageSize + 2) * boltpage.PageSize
	}
	return n
}

// NoteWeight is what a note takes likewise.
func NoteWeight(n *event.Note) int {
	return 40 + crypt.ReasonSize(n) + min(len(n.Last.RID), codec.MaxReason) + RecordOverhead
}
