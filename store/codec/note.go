package codec

import (
	"fmt"
	"time"

	"scanrelay/store/event"
)

// Bits of a note's first byte, beside its kind.
const (
	noteCopied = 0x80
	noteLater  = 0x40
)

// MaxReason bounds what a note keeps of a reason, in bytes.
const MaxReason = 512

// EncodeNote writes a note, with reason in place of its own.
func EncodeNote(key []byte, n *event.Note, reason string) []byte {
	enc := NewEncoder(24 + len(reason) + len(n.Last.RID))
	kind := byte(n.Kind)
	if n.Copied {
		kind |= noteCopied
	}
	if n.Later.Known {
		kind |= noteLater
	}
	enc.Byte(kind)
	enc.Byte(byte(n.Outcome))
	enc.Uint(n.Seq)
	enc.Time(n.At)
	enc.Uint(uint64(n.Attempts))
	enc.Int(int64(n.Last.ErrCode))
	enc.Text(reason)
	enc.Text(Cut(n.Last.RID, MaxReason))
	if n.Later.Known {
		enc.Int(n.Later.Action)
	}
	if n.Kind == event.NoteAttempt {
		enc.Int(int64(n.Delay))
	}
	return enc.Frame(key)
}

// DecodeNote reads a note; an encrypted reason stays so.
func DecodeNote(key, value []byte) (event.Note, error) {
	d, err := Decode(key, value)
	if err != nil {
		return event.Note{}, err
	}
	if d.laterNote() {
		return event.Note{Kind: event.NoteCarried, Foreign: true}, nil
	}
	kind := d.Byte()
	n := event.Note{Kind: event.NoteKind(kind &^ (noteCopied | noteLater)), Copied: kind&noteCopied != 0, Outcome: event.State(d.Byte()), Seq: d.Uint(), At: d.Time()}
	n.Attempts = int(min(d.Uint(), 1<<30))
	n.Last.ErrCode = int(d.Int())
	n.Last.Reason = d.Text()
	n.Last.RID = d.Text()
	if kind&noteLater != 0 {
		n.Later = event.Later{Action: d.Int(), Known: true}
	}
	if n.Kind == event.NoteAttempt {
		n.Delay = time.Duration(d.Int())
	}
	if !n.Plausible() {
		d.Fail("no such note")
	}
	if err := d.Done(); err != nil {
		return event.Note{}, fmt.Errorf("decode note: %w", err)
	}
	return n, nil
}

// laterNote reports whether the body is of a note that only a later release
// knows: its checksum is good, but not what it says. The release that is fallen
// back to passes it over.
func (d *Decoder) laterNote() bool {
	if len(d.b) < 2 {
		return false
	}
	kind := event.NoteKind(d.b[0] &^ (noteCopied | noteLater))
	return kind > event.NoteAttempt || kind == event.NoteOutcome && event.State(d.b[1]) >= event.NumStates
}

// Cut returns at most n bytes of s, not splitting a character.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
