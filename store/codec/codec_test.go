package codec_test

import (
	"bytes"
	"reflect"
	"testing"

	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// FuzzDecodeEvent: no bytes make a decoder panic, and what it accepts is what
// was encoded.
func FuzzDecodeEvent(f *testing.F) {
	e := storetest.FullEvent()
	f.Add(codec.EncodeEvent(&e)[1:])
	e = storetest.Event("W", "e", 1)
	f.Add(codec.EncodeEvent(&e)[1:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := codec.DecodeEvent(body)
		if err != nil {
			return
		}
		again, err := codec.DecodeEvent(codec.EncodeEvent(&got)[1:])
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%v\n%#v\n%#v", err, got, again)
		}
	})
}

// FuzzDecodeNote: the same of notes.
func FuzzDecodeNote(f *testing.F) {
	for _, n := range []event.Note{{Kind: event.NoteOutcome, Outcome: event.Pushed, Seq: 5}, {Kind: event.NoteRequeue, Copied: true, Later: event.Later{Action: 1, Known: true}}} {
		v := codec.EncodeNote(codec.Key(1), &n, "")
		f.Add(v[:len(v)-codec.CRCSize])
	}
	f.Fuzz(func(t *testing.T, framed []byte) {
		key := codec.Key(1)
		got, err := codec.DecodeNote(key, codec.Frame(key, bytes.Clone(framed)))
		if err != nil || got.Foreign || len(got.Last.Reason) > codec.MaxReason || len(got.Last.RID) > codec.MaxReason {
			return
		}
		again, err := codec.DecodeNote(key, codec.EncodeNote(key, &got, got.Last.Reason))
		if err != nil || got != again {
			t.Errorf("%v\n%#v\n%#v", err, got, again)
		}
	})
}
