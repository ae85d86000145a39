// Package archive is the form of a copy of the centre's state: one file, or stream,
// that is written and read from its beginning to its end.
//
// A first line names form and version. Frames follow, each of a kind (1 byte), the
// length of what it holds (4, big endian), that, and a CRC32C (4) that goes on from the
// frame before's, so that none can be missing, changed, twice or elsewhere:
//
//	h  head: JSON of Head
//	b  a bucket begins: file/bucket. Its records follow, keys rising
//	r  records: each key's length (varint), key, value's length (varint), value
//	f  a plain file begins: its name. Its content follows
//	d  content
//	e  end: JSON of how many records and bytes there were
//
// [Writer] writes one; what it was given is in it once End has returned nil. [Read]
// believes nothing that it reads: whatever an archive says, it allocates no more than
// has come, and its error tells a damaged or cut one from one that a newer scanrelay
// wrote or that is none. [Unpack] makes files of one in a folder.
//
// It knows nothing of what the buckets hold, and must never give an archive for whole
// that lacks its end.
package archive
