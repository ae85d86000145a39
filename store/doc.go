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
//	            journal of segments       index: census and two windows in memory
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
//	outbox.key             the master key, twice; made at the first start, mode
//	                       0600. Where systemd gives the credential
//	                       scanrelay-store-key (64 hex digits), that is used,
//	                       and there is none here: a store that has one moves
//	                       to the credential (credential.go)
//	outbox.keys            a key for each segment, under the master key; ring.go
//	segment-00000007.register
//	                       which of a sealed segment's events are of a waybill
//	                       (register_file.go); made again of it when it is gone
//	outbox.clean           the last process closed the outbox; what waited for
//	                       waybill data then (cleanmark.go)
//	suspect                names a segment of which a sync failed; see Failed
//	unreadable             names segments in which a lease met damage: the next
//	                       start mends them (metdamage.go)
//	*.tmp                  a creation that was interrupted; removed at a start
//	*.damaged*             damaged files as they were found; the alarm in Counts
//	                       lasts until a person takes them away
//
// A segment is a bbolt file of fixed size, preallocated, begun when the one
// before is nine tenths full (or half of retain old), never changed after the
// next was begun, and unlinked whole. Its buckets:
//
//	meta     segment → format version, number, first event, size, begun
//	events   seq     → event record; seq is 8 bytes big endian, without holes
//	notes    1, 2, … → how an event ended, that a dead letter was put back, or
//	                   how often one was tried; often it is in an older segment
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
// (codec.go). A record of a newer version is ErrNewer, not damage. A note of a
// kind that only a later release knows, with a good checksum, is passed over and
// counted by Check: to this release its event stands as if it had not been
// written. An event with an empty value marks a number whose event was lost to
// damage.
//
// # What is in memory
//
// The census (census.go) knows every number that is pending, by a bit, and by
// another one whether it waits for waybill data: 5 million take a megabyte. The
// table (table.go) holds entries, 32 bytes each, of those in the two windows
// (window.go): the 16,384 youngest, and as many of the oldest, which are brought
// in from disk as they drain (paging.go). What waits for data has no entry.
//
// Order per waybill holds over all of it: a lease of a waybill whose first held
// event came while something was on disk only looks first whether an earlier
// one is there. For that each segment has a register (register.go): a tag of the
// waybill number for each event. OfWaybills, Newer, Wake and Requeue use it, so
// that nothing but Scan and Check reads more than it returns.
//
// At a start the notes of all segments and the entries of the young window are
// read. Attempts and due times are in memory; waits of half a minute and more are
// written as notes, with the commits that come along, and all of them at a clean
// stop (attempts.go). Of more failing events than half a window they are not kept:
// these cool on disk, all together (cooling.go).
//
// # Encryption
//
// Events, carried events and rejects are sealed with AES-256-GCM (key.go): the
// waybill number, all texts, couriers and waybill data. So are the reasons of
// discards, which a person typed, and of dead letters, which hold WeChat's words
// (reason.go). Numbers, outcomes, the program's own reasons and counters are in
// clear, but for what WeChat said of an attempt. A record is 20 bytes longer for
// it. Identities and waybills are hashed in memory, under keys of this process; a
// register's tags are 40 bits of an HMAC under a key derived from the segment's.
//
// Each segment has a random key of its own, which stands in outbox.keys and not
// in the segment. When a segment is unlinked its key is overwritten in place in
// both slots of that file, so the segment's blocks, which an unlink leaves on
// the flash, cannot be read by anybody, not even with the master key. What the
// flash controller keeps of overwritten blocks is beyond any program: keep the
// master key off the card (a credential sealed by systemd-creds) where that
// matters, since a card with outbox.key on it holds all it takes. Carried events
// are sealed anew under the key of the segment that takes them. A segment set
// aside keeps its key until a person removes it; the quarantine has one key for
// as long as it exists.
//
// A wrong or missing key is ErrKey, which says what to do, and changes nothing.
// One bad page anywhere in outbox.key or outbox.keys is survived.
//
// # Damage
//
// bbolt dies of a bad page, in a goroutine where nothing can catch it, and may
// go in circles (deps.md A4, A7). So pages.go walks the pages without bbolt,
// each once: no child process and no time limit are needed. Before bbolt opens
// the newest segment or the quarantine for writing, every page that it is going
// to read is looked at (outline.go); after an unclean stop, or a failed sync,
// every record of the newest segment, too. Of sealed segments only branch and
// meta pages are: they are only ever read, with panics and faults caught.
//
// A segment with bad pages is rebuilt under its number (rebuild.go): of what its
// tree leads to, and of leaf pages that the tree lost. An event that cannot be
// read keeps an empty place and ends as a dead letter, so that received =
// pending + outcomes still holds; its number is named in Counts.Damaged and the
// log, as is that outcomes were lost or may be. Then a new segment is begun, under a new epoch for what is unsynced.
// Check (scanrelay store check) reads all there is. OpenDamaged (store export)
// reads what is left of a store that nobody has mended, and changes nothing.
//
// # What is promised, and the test that holds it
//
//   - I1, acknowledged is on disk: TestAppendedIsOnDisk, TestKill.
//   - I3, received = pending + outcomes at every moment, and a recount from the
//     files comes to the same: every test's cleanup; TestModel.
//   - I4, order per waybill, one leased event per waybill, also where hardly
//     anything is in memory: TestOrderPerWaybill, TestModel, TestKill,
//     TestPagedOrderPerWaybill, TestPagedEarlierComesFirst, TestPagedUnderLoad,
//     TestPagedHeadEndsMeanwhile, TestIndexAtRandom, TestStress.
//   - A lease that ran out is a sentinel, also where another one holds by then:
//     TestLeaseRunsOut, TestLeaseHasAnOwner.
//   - Memory is bounded, whatever waits, and the youngest and the oldest go first
//     all the same: TestPagedOrderPerWaybill, TestPagedFreshAndStale,
//     TestPagedWaiting, TestPagedManyOfOneWaybill. However many fail, the others
//     are tried, and these again: TestFailingIsBounded, TestWaybillCoolsAsAWhole.
//   - A register that is missing, damaged, old or of something else is noticed
//     and made again: TestRegisterIsMadeAgain, TestRegisterOfLostTransaction,
//     TestRebuiltSegmentHasNoRegister; with all that can be read of a damaged
//     segment: TestRegisterOfADamagedSegment; it goes with its segment:
//     TestRegistersGoWithTheirSegments.
//   - Attempts and long waits survive a restart, at a few notes for each event,
//     and nothing is due all at once after it: TestAttemptsSurvive,
//     TestAttemptsAreWrittenSeldom, TestHoldsAreWrittenSeldom,
//     TestManyAttemptsAreWritten, TestAttemptsAndAClockSetBack. So does
//     waiting for data, a clean one: TestModel, TestWaitingMarkComesBack.
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
//   - Power cut at any moment, with unsynced writes lost, torn or reordered:
//     what was acknowledged is there: TestPowerCut.
//   - Any system call that changes the files may fail, once or for good:
//     TestFailingSystemCalls, TestKeysWithoutRoom. A read that fails is tried
//     again; a disk of which nothing can be read is no damage, and nothing is set
//     aside: TestReadsAreTriedAgain, TestUnreadableDiskIsNoDamage. A sealed
//     segment that faults as it is read kills nobody: TestSealedSegmentFaults.
//   - A record that fails its checksum becomes a dead letter and holds nobody
//     up: TestDamagedRecordBecomesDeadLetter. Bit flips, zeroed pages and
//     overwritten sectors are found, contained and reported, the file is kept:
//     TestDamageIsContained, TestUncleanStartMendsTheNewest, TestAlarmEnds,
//     TestDamagedSegmentIsSetAside, TestDamageMetByALease. bbolt is never given a page it dies of,
//     after a clean stop neither: TestPagesAgreeWithBolt,
//     TestAcceptedPagesAgreeWithBolt, TestBadPageAfterCleanStop,
//     TestBadQuarantineIsSetAside.
//   - Check finds what cannot be read and what does not add up:
//     TestCheckFindsDamage, TestCheckFindsWhatDoesNotAddUp. An export has all
//     that can be read, and says so where it is not all: TestOpenDamaged.
//   - Nothing personal in clear on disk, wherever it goes, reasons that a person
//     typed neither: TestNothingInClearOnDisk, TestReasonIsRebuilt,
//     TestReasonOfAnotherKey. Those of earlier releases, in clear, are read:
//     TestReasonInClearIsRead.
//     A key goes with its segment: TestKeyIsDestroyedWithItsSegment. Keys are
//     not printed: TestKeysDontPrint. A store moves from its key file to a
//     credential, over a crash at any moment: TestMoveToCredential; a copy of
//     the file as the credential is named as such: TestCredentialIsACopy. Wrong,
//     missing, outdated and damaged keys: TestWrongOrMissingKey,
//     TestWrongCredential, TestKeysOlderThanSegments, TestKeysSurviveDamage.
//   - A file of a newer version is refused: TestNewerFileIsRefused. Format 1,
//     which was in clear, is read: TestFormat1IsRead. A later release's notes
//     are passed over: TestLaterNotesArePassedOver.
//   - Quarantine is bounded, and what leaves it is counted:
//     TestQuarantineIsBounded.
//
// # What is not promised yet
//
//   - A page that reads well when it is looked at, and cannot be read any more
//     when bbolt reads it a moment later, still kills the process.
//   - Damage to leaf pages of sealed segments, and after a clean stop of the
//     newest one, is found by Check, or when what is on them is read: at a start
//     in the young window, which has the segment rebuilt, else by a lease, which
//     makes dead letters of what it cannot read; the next start rebuilds, and
//     what is readable then can be retried.
//   - After a crash nothing waits for waybill data: the centre is asked again.
//   - Dead letters are in memory by number, about 40 bytes each.
package store
