// Package store is the outbox: it keeps every scan event on disk from before
// its acknowledgement until it is finished, and for store.retain after.
//
// It owns the files in its folder and the states of events. It must never
// speak to a network, decide what an answer means (package uplink does), print
// or log waybill data, or let intake wait for anything but the disk.
//
// # How an event passes through
//
//	Submit ─► queue ─► committer: number, group, fsync ─► done: acknowledge
//	                       │
//	            journal of segments          index in memory (rebuilt at a start)
//	                       │                      unsynced
//	Unsynced ◄─────────────┤                         │ Synced: the watermark rises
//	                       │             awaiting_waybill ◄─Park─┐   │
//	                       │                  └──────Wake──────► to_push ◄─Release─┐
//	Settle ─► queue ─► committer: note, fsync ◄── outcome ◄──────────┴── Lease ────┘
//
// One goroutine, the committer, writes: whatever waits (events, outcomes, the
// watermark) goes into one bbolt commit. It waits for company, 3 ms at most,
// only after a commit that had some; a lone scan is on disk in one commit's
// time. Readers use short bbolt read transactions. Outbox.mu guards memory and
// is never held during I/O.
//
// # Files
//
//	outbox.lock            flock: one writer or many readers, of one machine
//	segment-00000007.db    the journal's segments, rising; the last is written to
//	quarantine.db          what could not be understood
//	suspect                names a segment of which a sync failed; see Failed
//	*.tmp                  a creation that was interrupted; removed at a start
//	*.damaged*             what could not be read, set aside
//
// A segment is a bbolt file of fixed size, preallocated, begun when the one
// before is nine tenths full (or half of retain old), never changed after the
// next was begun, and unlinked whole. Its buckets:
//
//	meta     segment → format version, number, first event, size, begun
//	events   seq     → event record; seq is 8 bytes big endian, without holes
//	notes    1, 2, … → how an event ended, or that a dead letter was put back;
//	                   the event is often in an older segment
//	carried  seq     → event records moved here from a segment that was unlinked
//	state    head    → next number, watermark, counters, newest time
//	         base    → totals of all unlinked segments, and the last one's number
//	         epochs  → from which number on which epoch holds
//	         boots   → the clocks of boots that began without one
//	         machine, damage
//
// The state bucket is small enough for bbolt to keep it inside the root page,
// which every commit writes anyway. The newest segment's state is the outbox's.
//
// The quarantine has meta, rejects (number → reject) and state (counts).
//
// Every value is framed: version, body, CRC32C over key, version and body
// (codec.go). A record of a newer version is ErrNewer, not damage.
//
// # What is promised, and the test that holds it
//
//   - I1, acknowledged is on disk: TestAppendedIsOnDisk, TestKill.
//   - I3, received = pending + outcomes at every moment, and a recount from the
//     files comes to the same: every test's cleanup; TestModel.
//   - I4, order per waybill, one leased event per waybill: TestOrderPerWaybill,
//     TestModel, TestKill.
//   - Nothing leasable before the watermark has passed it (I2): TestOrderPerWaybill,
//     TestRewind.
//   - A failed fdatasync ends the outbox, and its segment is not written to
//     again: TestFailedSyncEndsTheOutbox, TestCommitFailureMeans.
//   - Full is a state: at max_size or when the disk is, intake is refused, what
//     is stored can be finished, finished segments make way, intake goes on by
//     itself: TestFullAtMaxSize, TestFullDisk, TestDiskFilledByAnotherFile,
//     TestNoSpaceInCommitIsSurvived. Within max_size one segment is left to
//     outcomes; should another writer take the disk's last block all the same,
//     Lease says ErrFull rather than let a push's outcome be lost.
//   - Close loses nothing that was taken: TestCloseLosesNothing.
//   - A segment is unlinked only when all in it is synced, and finished or
//     carried: TestSegmentsComeAndGo, TestUnsyncedSegmentStays,
//     TestDeadLetterIsCarried, TestCrashBeforeUnlink. Dead letters never vanish
//     by age.
//   - The latest 32,768 identities at least are recognised, over restarts; weak
//     keys for ten minutes: TestSameIdentityIsStoredOnce, TestWeakKey.
//   - (epoch, seq) is not repeated: a new epoch on another machine, or when a
//     meta page is bad: TestCloneTakesNewEpoch, TestLostTransactionTakesNewEpoch.
//   - A clock that begins in 1970, jumps or steps back: TestResolveClock,
//     TestClockJumps.
//   - A record that fails its checksum becomes a dead letter and holds nobody
//     up; a file that bbolt refuses is set aside, named and never deleted:
//     TestDamagedRecordBecomesDeadLetter, TestDamagedSegmentIsSetAside.
//   - A file of a newer version is refused: TestNewerFileIsRefused.
//   - Quarantine is bounded, and what leaves it is counted:
//     TestQuarantineIsBounded.
//
// # What is not promised yet
//
//   - Personal data is in clear on disk. (Where encryption goes: the frame of a
//     record, as version 2, with the segment's key in its meta bucket.)
//   - A start reads segments in this process: a page so bad that bbolt dies of
//     it while it looks for free pages stops the start, and needs a person to
//     move that segment away.
//   - Of a segment that was set aside nothing is drained: its events are lost to
//     the agent, and the centre sees the gap in their numbers.
//   - All that is pending is in memory, about 90 bytes an event.
//   - Attempts, due times and waiting for data are in memory: after a restart
//     every synced event is in to_push, due at once.
//   - OfWaybills reads every event in the store.
//   - A power cut was only simulated by bbolt's own tests (deps.md A1), not by
//     ours.
package store
