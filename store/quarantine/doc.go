// Package quarantine keeps what could not be understood, whole, in a bbolt file
// of its own that is bounded in size and count: the oldest makes way for the
// newest, and is counted (TestQuarantineIsBounded).
//
// It never stops intake: where nothing can be written any more, what should have
// been kept is counted as forgotten (TestQuarantineWithoutRoom). A damaged file is
// set aside and a new one begun (TestBadQuarantineIsSetAside); on a full disk at the
// next start (TestDamageOnAFullDisk). Entries are encrypted under a key that lives as
// long as the file.
//
// Writing is the committer's: Add, Move and Close are not called at the same time.
// Everything else may be called by anybody at any time.
package quarantine
