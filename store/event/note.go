package event

import "time"

// Note is a small record about an event that is stored elsewhere: how it ended,
// or that a dead letter was put back. Notes stand in the order in which they
// came; of several about one event the last holds.
type Note struct {
	Kind NoteKind
	// Copied: the note was carried along with its event. It says where the
	// event stands and is not counted as a settlement again.
	Copied   bool
	Seq      uint64
	Outcome  State // of NoteOutcome
	At       time.Time
	Attempts int
	Last     Reply
	Later    Later         // of a copied note
	Delay    time.Duration // of NoteAttempt: how long after at it is due
	// Foreign: a later release wrote it, of a kind unknown here. It reads as a
	// NoteCarried, which says nothing.
	Foreign bool
}

// Later is the newest action_time that was stored for an event's waybill
// after it, if any was.
type Later struct {
	Action int64
	Known  bool
}

// Add takes another action_time into account.
func (l *Later) Add(action int64) {
	if !l.Known || action > l.Action {
		l.Action, l.Known = action, true
	}
}

// Sent says who sent an event, and how large its record is.
type Sent struct {
	Seq    uint64
	Client uint16
	Size   int
}

// Found is some of what a start finds on disk.
type Found struct {
	Pending []uint64
	Dead    []uint64             // dead letters
	Retried map[uint64]time.Time // when an event was put back as a dead letter
	Tried   map[uint64]Note      // the last note of attempts
}

// NoteKind is what a note says.
type NoteKind uint8

const (
	NoteOutcome NoteKind = 1 + iota
	NoteRequeue
	NoteCarried // a pending event was carried; `later`, attempts and last count
	NoteAttempt // a pending event was tried so often, and is due delay after at
)

// ReasonUnread is the reason of a dead letter that the disk could not read, for
// seconds: once it can, the event is put back.
const ReasonUnread = "the record cannot be read from disk"

// Plausible reports whether a note is one that is written: its outcome is one,
// and only NoteOutcome has any.
func (n *Note) Plausible() bool {
	switch n.Kind {
	case NoteOutcome:
		return n.Outcome.Finished()
	case NoteRequeue, NoteCarried, NoteAttempt:
		return n.Outcome == Unsynced
	}
	return false
}

// Ends reports whether a note ends an event for good, so that nothing has to be kept
// free for it.
func (n *Note) Ends() bool { return n.Kind == NoteOutcome && n.Outcome != Dead && !n.Copied }

// Private reports whether a note's reason is in words that are not the
// program's: a person typed it, or WeChat said it. They may name somebody, so
// they are encrypted under the segment's key and go with it. The reasons of other
// outcomes are the program's own; most have none.
func (n *Note) Private() bool {
	own := n.Kind == NoteOutcome && n.Outcome != Discarded && n.Outcome != Dead
	switch n.Last.Reason {
	case "", ReasonLeftOut, NoRoom, NoteLost:
		own = true
	}
	return !own
}

// ReasonLeftOut stands for a reason that there was no room for.
const ReasonLeftOut = "reason_left_out"

// NoRoom is the reason of dead letters that are discarded since all of them fill
// too much of the store.
const NoRoom = "no_room"

// NoteLost is the reason of an outcome that is known by a checkpoint only: damage took
// the note that said why.
const NoteLost = "note_lost"

// What a brief note keeps of a reason and of a request id, in bytes.
const (
	briefReason = 20
	briefRID    = 32
)

// Brief returns the note as it is written where room is kept for outcomes only:
// words become a code.
func (n Note) Brief() Note {
	if n.Private() || len(n.Last.Reason) > briefReason {
		n.Last.Reason = ReasonLeftOut
	}
	if len(n.Last.RID) > briefRID {
		n.Last.RID = ""
	}
	return n
}

// Note returns the note of an event that ended at now.
func (s *Settlement) Note(now time.Time) Note {
	return Note{Kind: NoteOutcome, Seq: s.Seq, Outcome: s.Outcome, At: now, Attempts: s.Attempts, Last: s.Last}
}

// Carried returns the note that goes along with an event that is carried: where
// it stands, as far as that is on disk.
func (r *Record) Carried(later Later) Note {
	n := Note{Kind: NoteCarried, Copied: true, Seq: r.ID.Seq, Attempts: r.Attempts, Last: r.Last, Later: later}
	switch {
	case r.State == Dead:
		n.Kind, n.Outcome, n.At = NoteOutcome, Dead, r.FinishedAt
	case !r.RetriedAt.IsZero():
		n.Kind, n.At = NoteRequeue, r.RetriedAt
	}
	return n
}

// Apply completes a record by a note about it.
func (r *Record) Apply(n *Note) {
	switch n.Kind {
	case NoteOutcome:
		r.State, r.FinishedAt = n.Outcome, n.At
		r.Attempts, r.Last = n.Attempts, n.Last
	case NoteRequeue:
		r.RetriedAt = n.At
	}
}
