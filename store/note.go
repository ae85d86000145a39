package store

import (
	"fmt"
	"time"
)

// note is a small record about an event that is stored elsewhere: how it ended,
// or that a dead letter was put back. Notes stand in the order in which they
// came; of several about one event the last holds.
type note struct {
	kind noteKind
	// copied: the note was carried along with its event. It says where the
	// event stands and is not counted as a settlement again.
	copied   bool
	seq      uint64
	outcome  State // of noteOutcome
	at       time.Time
	attempts int
	last     Reply
	later    laterTime     // of a copied note
	delay    time.Duration // of noteAttempt: how long after at it is due
	// foreign: a later release wrote it, of a kind unknown here. It reads as a
	// noteCarried, which says nothing.
	foreign bool
}

// laterTime is the newest action_time that was stored for an event's waybill
// after it, if any was.
type laterTime struct {
	action int64
	known  bool
}

func (l *laterTime) add(action int64) {
	if !l.known || action > l.action {
		l.action, l.known = action, true
	}
}

// Bits of a note's first byte, beside its kind.
const (
	noteCopied = 0x80
	noteLater  = 0x40
)

type noteKind uint8

const (
	noteOutcome noteKind = 1 + iota
	noteRequeue
	noteCarried // a pending event was carried; `later`, attempts and last count
	noteAttempt // a pending event was tried so often, and is due delay after at
)

// maxReason bounds what a note keeps of a reason, in bytes.
const maxReason = 512

// encodeNote writes a note of the segment whose key seals its reason.
func (s *sealer) encodeNote(key []byte, n *note) []byte {
	reason := cut(n.last.Reason, maxReason)
	if n.private() {
		reason = s.sealReason(key, reason)
	}
	enc := newEncoder(24 + len(reason) + len(n.last.RID))
	kind := byte(n.kind)
	if n.copied {
		kind |= noteCopied
	}
	if n.later.known {
		kind |= noteLater
	}
	enc.byte(kind)
	enc.byte(byte(n.outcome))
	enc.uint(n.seq)
	enc.time(n.at)
	enc.uint(uint64(n.attempts))
	enc.int(int64(n.last.ErrCode))
	enc.string(reason)
	enc.string(cut(n.last.RID, maxReason))
	if n.later.known {
		enc.int(n.later.action)
	}
	if n.kind == noteAttempt {
		enc.int(int64(n.delay))
	}
	return seal(key, enc.b)
}

// decodeNote reads a note; a sealed reason stays sealed, see openReason.
func decodeNote(key, value []byte) (note, error) {
	d, err := unseal(key, value)
	if err != nil {
		return note{}, err
	}
	if d.laterNote() {
		return note{kind: noteCarried, foreign: true}, nil
	}
	kind := d.byte()
	n := note{kind: noteKind(kind &^ (noteCopied | noteLater)), copied: kind&noteCopied != 0, outcome: State(d.byte()), seq: d.uint(), at: d.time()}
	n.attempts = int(min(d.uint(), 1<<30))
	n.last.ErrCode = int(d.int())
	n.last.Reason = d.string()
	n.last.RID = d.string()
	if kind&noteLater != 0 {
		n.later = laterTime{d.int(), true}
	}
	if n.kind == noteAttempt {
		n.delay = time.Duration(d.int())
	}
	if !n.plausible() {
		d.fail("no such note")
	}
	if err := d.done(); err != nil {
		return note{}, fmt.Errorf("decode note: %w", err)
	}
	return n, nil
}

// laterNote reports whether the body is of a note that only a later release
// knows: its checksum is good, but not what it says. The release that is fallen
// back to passes it over.
func (d *decoder) laterNote() bool {
	if len(d.b) < 2 {
		return false
	}
	kind := noteKind(d.b[0] &^ (noteCopied | noteLater))
	return kind > noteAttempt || kind == noteOutcome && State(d.b[1]) >= numStates
}

func (n *note) plausible() bool {
	switch n.kind {
	case noteOutcome:
		return n.outcome.Finished()
	case noteRequeue, noteCarried, noteAttempt:
		return n.outcome == Unsynced
	}
	return false
}

// cut returns at most n bytes of s, not splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
