// Package snapshot is the centre's state of all waybills: what answers WeChat's
// reverse lookup and tells each depot what became of its events. It owns the
// centre's files and decides, once and durably, whether an event is taken, late
// or a duplicate. It must never answer a batch before that batch is on disk,
// never speak to WeChat or a depot, and never log what is in a waybill.
//
// [Store] is the contract, contract_test.go its test, which every implementation
// must pass; [Bolt] is the implementation for one process.
//
// # Files
//
//	lock          held by flock for as long as the store is open
//	log.db        bbolt: what came, in order, committed per group of batches
//	  meta        format, store_id, truncated (the highest number deleted)
//	  log         8-byte big-endian number → record, CRC32C
//	waybills.db   bbolt: what it came to
//	  meta        format, store_id, phone_key, merged, count
//	  waybills    waybill number → data and path, CRC32C
//	  answers     depot 0x00 epoch seq → identity, result, when
//	  depots      depot 0x00 epoch → have, gaps, when, how many, CRC32C
//	  bindings    keyed HMAC of a phone → bound or not, when
//	  damaged     values whose CRC was wrong, kept as they were
//
// # One batch's way
//
// One goroutine, the committer, owns the log. It takes all batches that wait,
// judges their events in order against the path as it stands, appends one
// record per event to the log and commits once for all: that fsync is the
// durability. Then it publishes the new states in memory (the tail) and answers.
// Appends in order cost a few hundred bytes an event; random keys cost
// kilobytes (deps.md A3), so a second goroutine, the merger, carries the
// tail into waybills.db later and in big groups, then lets the committer delete
// the log's prefix. Two files, because a merge must not hold up a commit.
//
// A tail entry is a waybill's whole state, so a lookup is one map access or one
// key read, never both mixed. It leaves the tail only after the merge that holds
// it is on disk. States are immutable once published.
//
// At start the tail is rebuilt from the records behind `merged`. Each state
// carries the number of the last record in it, so that a merge which was cut
// short is not applied twice. A record says what was decided; nothing is judged
// again.
//
// # What a copy or damage does
//
// A backup that is put back has a lower `have`; the depots send again from
// there (syncapi, Sequence). Where the two files come from different moments,
// or log.db is missing, `have` falls far enough that the depots fill the hole.
// A record of the log that is damaged is skipped and `have` stays below it. A
// damaged waybill is set aside and starts empty. All of it is in [Stats].Damage.
//
// # bbolt's options
//
// deps.md part A holds. log.db does not write its free list, since it commits
// often and is small. waybills.db does: it commits rarely and in big groups, so
// the list is cheap there, while without it a start would read every page of a
// file of many gigabytes, in a goroutine that a damaged page would kill.
//
// # Personal data
//
// Both files hold names, phones and addresses, as WeChat must be given them;
// they have mode 0600. Forget removes waybills that did not change for long.
// Bindings are filed under a keyed HMAC of the phone, its key made with the store.
package snapshot
