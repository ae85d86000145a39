package event

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"scanrelay/agent/scan"
)

// ID is an event's place in the fleet's history: the epoch of its outbox and
// its sequence number. Seq alone is unique within one outbox and never repeats.
type ID struct {
	Epoch uint64
	Seq   uint64
}

// String returns <epoch>-<seq>, the epoch as 16 hex digits.
func (id ID) String() string { return fmt.Sprintf("%016x-%d", id.Epoch, id.Seq) }

// ParseID reads what ID.String wrote.
func ParseID(s string) (ID, error) {
	epoch, seq, ok := strings.Cut(s, "-")
	e, err1 := strconv.ParseUint(epoch, 16, 64)
	n, err2 := strconv.ParseUint(seq, 10, 64)
	if !ok || err1 != nil || err2 != nil || len(epoch) != 16 {
		return ID{}, fmt.Errorf("%q is no event id: want <16 hex digits>-<number>, as `scanrelay events` prints it", s)
	}
	return ID{Epoch: e, Seq: n}, nil
}

// State is where an event stands. The first three are pending; the others are
// outcomes, of which an event ends in exactly one.
type State uint8

const (
	Unsynced        State = iota // stored, the centre has not acknowledged it
	AwaitingWaybill              // synced; the centre has no waybill data yet
	ToPush                       // synced; the push relay has it or will
	Pushed                       // WeChat took it and the phone is bound
	NotBound                     // the receiver's phone is not bound in WeChat
	Superseded                   // late, duplicate, or replaced by a newer node
	Expired                      // older than notify.max_age at the gate
	Muted                        // notify.actions leaves its action_type out
	Dead                         // a dead letter: no retry can deliver it
	Discarded                    // a dead letter that an operator discarded, or that found no room
	NumStates                    // how many there are
)

var stateNames = [NumStates]string{
	"unsynced", "awaiting_waybill", "to_push",
	"pushed", "not_bound", "superseded", "expired", "muted", "dead", "discarded",
}

// String returns the state's name as status and `scanrelay events` write it.
func (s State) String() string {
	if s < NumStates {
		return stateNames[s]
	}
	return "state " + strconv.Itoa(int(s))
}

// Finished reports whether s is an outcome.
func (s State) Finished() bool { return s >= Pushed && s < NumStates }

// ParseState reads a state's name.
func ParseState(name string) (State, bool) {
	for i, n := range stateNames {
		if n == name {
			return State(i), true
		}
	}
	return 0, false
}

// Outcomes lists all outcomes in the order in which status shows them.
func Outcomes() []State {
	return []State{Pushed, NotBound, Superseded, Expired, Muted, Dead, Discarded}
}

// Reply is the last thing WeChat, the centre or a gate said about an event.
type Reply struct {
	Reason  string // one line for people; on disk others' words are encrypted
	ErrCode int    // WeChat's errcode; 0: none
	RID     string // WeChat's request id; "" if none
}

// Lease tells one claim of an event from all others of this process: whoever
// held an earlier one, which ran out, cannot end it.
type Lease uint64

// Record is one event of the outbox with where it stands.
type Record struct {
	ID    ID
	Lease Lease // of a record that Lease returned; else 0
	Event scan.Event
	State State
	// Ended: it has an outcome, also where State does not say which: that takes
	// reading notes.
	Ended    bool
	Attempts int
	Last     Reply
	// RetriedAt is when an operator last retried it as a dead letter; zero if
	// never. Its age for notify.max_age counts from there.
	RetriedAt  time.Time
	FinishedAt time.Time // zero while pending
}

// Settlement ends one event.
type Settlement struct {
	Seq     uint64
	Lease   Lease // the record's; 0: whichever holds
	Outcome State
	Last    Reply
	// Attempts is how many calls were made for it, all in all.
	Attempts int
	// NoHurry: nobody waits for it, so its commit may wait for a scan to share it
	// with, unless Hurry says otherwise. A commit costs the flash as much for one
	// record as for forty.
	NoHurry bool
}

// Retry puts a leased event back to be leased again at At.
type Retry struct {
	Seq      uint64
	Lease    Lease // the record's; 0: whichever holds
	At       time.Time
	Attempts int
	Last     Reply
}

// Sentinels that callers branch on.
var (
	// ErrFull: there is no room; acknowledge nothing and wait on Room.
	ErrFull = errors.New("outbox is full")
	// ErrShare: one client has its share of the room; others still have room. It is
	// ErrFull, too.
	ErrShare = fmt.Errorf("%w for more of this client's scans", ErrFull)
	// ErrClosed: the outbox was closed.
	ErrClosed = errors.New("outbox is closed")
	// ErrFailed: a sync to disk failed. What the kernel holds can no longer
	// be trusted: the process must end with exit code 1.
	ErrFailed = errors.New("outbox could not be synced to disk")
	// ErrNotLeased: the lease of an event ran out, or it never had one.
	ErrNotLeased = errors.New("event is not leased")
	// ErrNotDead: only dead letters can be requeued or discarded.
	ErrNotDead = errors.New("event is not a dead letter")
	// ErrUnknownID: the outbox holds no such event.
	ErrUnknownID = errors.New("no such event")
)
