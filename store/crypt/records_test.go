package crypt

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/masterkey"
)

var testCipher = newCipher(masterkey.Random())

// opened reads an encrypted record, reopened what was encoded.
func opened(key, value []byte) (scan.Event, error) {
	body, err := testCipher.Decrypt(EventRecord, key, value, nil)
	if err != nil {
		return scan.Event{}, err
	}
	return codec.DecodeEvent(body)
}

func reopened(key, framed []byte) (scan.Event, error) {
	return opened(key, testCipher.Encrypt(EventRecord, key, NewSalt(), framed))
}

func TestEventRecordComesBack(t *testing.T) {
	zero := scan.Event{Waybill: "W", EventID: "e"}
	for name, want := range map[string]scan.Event{"full": storetest.FullEvent(), "plain": storetest.Event("W1", "e1", 1), "zero time": zero} {
		t.Run(name, func(t *testing.T) {
			key := codec.Key(7)
			got, err := reopened(key, codec.EncodeEvent(&want))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %#v\nwant %#v", got, want)
			}
			if got.ReceivedAt.IsZero() != want.ReceivedAt.IsZero() {
				t.Error("the zero time did not come back")
			}
		})
	}
}

func TestNoteComesBack(t *testing.T) {
	for _, want := range []event.Note{
		{Kind: event.NoteOutcome, Seq: 9, Outcome: event.Dead, At: time.Unix(1795000000, 5000).UTC(), Attempts: 5, Last: event.Reply{Reason: "no such waybill", ErrCode: 932002, RID: "abc-1"}},
		{Kind: event.NoteRequeue, Copied: true, Seq: 1 << 40, At: time.Unix(1795000000, 0).UTC(), Later: event.Later{Action: -5, Known: true}},
		{Kind: event.NoteCarried, Copied: true, Seq: 3, At: time.Unix(0, 0).UTC()},
	} {
		key := codec.Key(1)
		got, err := codec.DecodeNote(key, testCipher.EncodeNote(key, &want))
		if err == nil {
			err = testCipher.DecryptReason(1, &got)
		}
		if err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

// Every flipped bit, every cut and every other key must be seen: bbolt has no
// checksum on its data pages.
func TestDamageIsSeen(t *testing.T) {
	e := storetest.FullEvent()
	key := codec.Key(7)
	good := testCipher.Encrypt(EventRecord, key, NewSalt(), codec.EncodeEvent(&e))
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := opened(key, bad); !errors.Is(err, durable.ErrDamaged) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range good {
		if _, err := opened(key, good[:n]); !errors.Is(err, durable.ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := opened(codec.Key(8), good); !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("under another's key: %v", err)
	}
}

func TestNewerRecordIsToldFromDamage(t *testing.T) {
	key := codec.Key(1)
	_, err := opened(key, codec.Frame(key, []byte{codec.Version + 1, 1, 2, 3}))
	if !errors.Is(err, durable.ErrNewer) || errors.Is(err, durable.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestLongReasonIsCut(t *testing.T) {
	n := event.Note{Kind: event.NoteOutcome, Outcome: event.Dead, Last: event.Reply{Reason: strings.Repeat("路", 400)}}
	key := codec.Key(1)
	got, err := codec.DecodeNote(key, testCipher.EncodeNote(key, &n))
	if err == nil {
		err = testCipher.DecryptReason(1, &got)
	}
	if err != nil || len(got.Last.Reason) > codec.MaxReason || !strings.HasPrefix(n.Last.Reason, got.Last.Reason) {
		t.Errorf("%d bytes, %v", len(got.Last.Reason), err)
	}
}

// FuzzDecryptReason: no note makes it panic, and what it leaves comes back.
func FuzzDecryptReason(f *testing.F) {
	for _, n := range []event.Note{{Kind: event.NoteOutcome, Outcome: event.Pushed, Seq: 5}, {Kind: event.NoteRequeue, Copied: true, Later: event.Later{Action: 1, Known: true}}} {
		v := testCipher.EncodeNote(codec.Key(1), &n)
		f.Add(v[:len(v)-codec.CRCSize])
	}
	f.Fuzz(func(t *testing.T, framed []byte) {
		key := codec.Key(1)
		got, err := codec.DecodeNote(key, codec.Frame(key, bytes.Clone(framed)))
		if err != nil || got.Foreign || len(got.Last.Reason) > codec.MaxReason || len(got.Last.RID) > codec.MaxReason {
			return
		}
		_ = testCipher.DecryptReason(1, &got) // whatever it says: it must not panic
		again, err := codec.DecodeNote(key, testCipher.EncodeNote(key, &got))
		if err == nil {
			err = testCipher.DecryptReason(1, &again)
		}
		if err != nil || got != again {
			t.Errorf("%v\n%#v\n%#v", err, got, again)
		}
	})
}
