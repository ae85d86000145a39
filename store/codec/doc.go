// Package codec says how the outbox writes things down: frames, the fields in
// them, and events, notes and a file's meta out of these.
//
// Every value on disk has one frame:
//
//	version (1 byte) | body | CRC32C over key, version and body (4 bytes)
//
// The key is in the checksum, so a record found under another's key is damage.
// The frame is the same in all versions: a record of a newer version, which is
// ErrNewer, can be told from a damaged one, which is ErrDamaged.
//
// Numbers are varints, texts are preceded by their length, times are
// microseconds since 1970. What it decodes it checks; no bytes make it panic, and
// what it accepts is what was encoded (FuzzDecodeEvent, FuzzDecodeNote).
//
// It knows no keys (package crypt encrypts) and no files. What is written may
// only be added to in such a way that the release before still reads it.
package codec
