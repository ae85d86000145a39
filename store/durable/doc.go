// Package durable changes files so that a power cut leaves the old ones or the
// new ones: creations are synced, renamed and their folder synced. It holds a
// folder's lock, the sentinels that every reader of files shares, and the line of
// version and checksum that seals a small file. It also tells what the medium below
// has taken.
//
// It promises that what its functions return nil for is on disk. It must never
// know what is in a file.
package durable
