package event_test

import (
	"testing"
	"time"

	"scanrelay/store/event"
)

func TestIDComesBack(t *testing.T) {
	for _, id := range []event.ID{{Epoch: 0x00a1b2, Seq: 1}, {Epoch: 1<<64 - 1, Seq: 1 << 40}} {
		if got, err := event.ParseID(id.String()); err != nil || got != id {
			t.Errorf("%v: %v, %v", id, got, err)
		}
	}
	for _, bad := range []string{"", "7", "a1b2-7", "000000000000a1b2-", "000000000000a1b2-x", "g00000000000a1b2-7", "-000000000000a1b2-7"} {
		if got, err := event.ParseID(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestStateNames(t *testing.T) {
	finished := 0
	for s := range event.State(event.NumStates) {
		if got, ok := event.ParseState(s.String()); !ok || got != s {
			t.Errorf("%d: %q is %d", s, s, got)
		}
		if s.Finished() {
			finished++
		}
	}
	if finished != len(event.Outcomes()) || event.State(event.NumStates).Finished() || event.Unsynced.Finished() {
		t.Errorf("%d states are outcomes", finished)
	}
}

// A record and the notes about it agree on where it stands.
func TestNotesSayWhatTheRecordSays(t *testing.T) {
	at := time.Unix(1795000000, 0).UTC()
	dead := event.Settlement{Seq: 7, Outcome: event.Dead, Attempts: 5, Last: event.Reply{Reason: "no such waybill", ErrCode: 932002}}
	n := dead.Note(at)
	var r event.Record
	r.ID.Seq = 7
	if r.Apply(&n); r.State != event.Dead || r.Attempts != 5 || r.Last != dead.Last || r.FinishedAt != at {
		t.Errorf("%+v", r)
	}
	copied := r.Carried(event.Later{Action: 3, Known: true})
	again := event.Record{ID: r.ID}
	if again.Apply(&copied); again.State != r.State || again.FinishedAt != r.FinishedAt || again.Last != r.Last {
		t.Errorf("carried: %+v", again)
	}
	for _, n := range []event.Note{n, copied, {Kind: event.NoteRequeue, Seq: 7}, {Kind: event.NoteAttempt, Seq: 7}} {
		if !n.Plausible() {
			t.Errorf("%+v is no note", n)
		}
	}
	for _, n := range []event.Note{{}, {Kind: event.NoteOutcome}, {Kind: event.NoteRequeue, Outcome: event.Dead}} {
		if n.Plausible() {
			t.Errorf("%+v is a note", n)
		}
	}
	if !n.Private() || (&event.Note{Kind: event.NoteOutcome, Outcome: event.Expired, Last: event.Reply{Reason: "too old"}}).Private() {
		t.Error("whose words these are")
	}
}
