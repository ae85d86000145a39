package store

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/event"
)

func fullEvent() scan.Event {
	e := newEvent("SF1234567890123", "e-1", 1795000000)
	e.Pickup = scan.Courier{Name: "王五", Phone: "13800138002"}
	e.Delivery = scan.Courier{Name: "赵六"}
	e.Data = &scan.Waybill{
		CreateTime: 1794990000,
		Sender:     scan.Party{Name: "张三", Phone: "13800138001", Province: "浙江省", City: "绍兴市", Area: "柯桥区", Address: "纺都路137号"},
		Receiver:   scan.Party{Name: "李四", Phone: "13800138000", Province: "福建省", City: "泉州市", Area: "晋江市", Street: "x", Address: "y", ID: "z"},
	}
	e.Marks = scan.MarkClock | scan.MarkCut
	e.Weak = scan.WeakKey{1, 2, 3}
	e.Clockless = &scan.BootTime{Boot: "b1b2", Since: 90 * time.Second}
	return e
}

var testSealer = newSealer(randomKey())

// opened reads a sealed record, reopened what was encoded and sealed.
func opened(key, value []byte) (scan.Event, error) {
	body, err := testSealer.open(kindEvent, key, value, nil)
	if err != nil {
		return scan.Event{}, err
	}
	return codec.DecodeEvent(body)
}

func reopened(key, framed []byte) (scan.Event, error) {
	return opened(key, testSealer.seal(kindEvent, key, newSalt(), framed))
}

func TestEventRecordComesBack(t *testing.T) {
	zero := scan.Event{Waybill: "W", EventID: "e"}
	for name, want := range map[string]scan.Event{"full": fullEvent(), "plain": newEvent("W1", "e1", 1), "zero time": zero} {
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
		got, err := codec.DecodeNote(key, testSealer.encodeNote(key, &want))
		if err == nil {
			err = testSealer.openReason(1, &got)
		}
		if err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

// Every flipped bit, every cut and every other key must be seen: bbolt has no
// checksum on its data pages (deps.md A7).
func TestDamageIsSeen(t *testing.T) {
	e := fullEvent()
	key := codec.Key(7)
	good := testSealer.seal(kindEvent, key, newSalt(), codec.EncodeEvent(&e))
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := opened(key, bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range good {
		if _, err := opened(key, good[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := opened(codec.Key(8), good); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another's key: %v", err)
	}
}

func TestNewerRecordIsToldFromDamage(t *testing.T) {
	key := codec.Key(1)
	_, err := opened(key, codec.Frame(key, []byte{codec.Version + 1, 1, 2, 3}))
	if !errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestLongReasonIsCut(t *testing.T) {
	n := event.Note{Kind: event.NoteOutcome, Outcome: event.Dead, Last: event.Reply{Reason: strings.Repeat("路", 400)}}
	key := codec.Key(1)
	got, err := codec.DecodeNote(key, testSealer.encodeNote(key, &n))
	if err == nil {
		err = testSealer.openReason(1, &got)
	}
	if err != nil || len(got.Last.Reason) > codec.MaxReason || !strings.HasPrefix(n.Last.Reason, got.Last.Reason) {
		t.Errorf("%d bytes, %v", len(got.Last.Reason), err)
	}
}

// FuzzDecodeEvent: no bytes make a decoder panic, and what it accepts is what
// was encoded.
func FuzzDecodeEvent(f *testing.F) {
	e := fullEvent()
	f.Add(codec.EncodeEvent(&e)[1:])
	e = newEvent("W", "e", 1)
	f.Add(codec.EncodeEvent(&e)[1:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		key := codec.Key(1)
		got, err := codec.DecodeEvent(body)
		if err != nil {
			return
		}
		again, err := reopened(key, codec.EncodeEvent(&got))
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%v\n%#v\n%#v", err, got, again)
		}
	})
}

func FuzzDecodeNote(f *testing.F) {
	for _, n := range []event.Note{{Kind: event.NoteOutcome, Outcome: event.Pushed, Seq: 5}, {Kind: event.NoteRequeue, Copied: true, Later: event.Later{Action: 1, Known: true}}} {
		v := testSealer.encodeNote(codec.Key(1), &n)
		f.Add(v[:len(v)-codec.CRCSize])
	}
	f.Fuzz(func(t *testing.T, framed []byte) {
		key := codec.Key(1)
		got, err := codec.DecodeNote(key, codec.Frame(key, bytes.Clone(framed)))
		if err != nil || got.Foreign || len(got.Last.Reason) > codec.MaxReason || len(got.Last.RID) > codec.MaxReason {
			return
		}
		_ = testSealer.openReason(1, &got) // whatever it says: it must not panic
		again, err := codec.DecodeNote(key, testSealer.encodeNote(key, &got))
		if err == nil {
			err = testSealer.openReason(1, &again)
		}
		if err != nil || got != again {
			t.Errorf("%v\n%#v\n%#v", err, got, again)
		}
	})
}

func FuzzDecodeReject(f *testing.F) {
	r := scan.Reject{Topic: "scans/1", Payload: []byte{0, 1}, Index: 2, Code: "not_json", Reason: "why", ReceivedAt: time.Unix(1, 0)}
	f.Add(encodeReject(&r)[1:])
	f.Fuzz(func(_ *testing.T, body []byte) {
		_, _ = decodeReject(body)
	})
}

func FuzzDecodeState(f *testing.F) {
	s := state{nextSeq: 5, epochs: []epochSpan{{1, 2}}, boots: []bootClock{{boot: "b", upTo: 4, fixed: true}}}
	f.Add(s.encodeBase().Begun(), s.encodeEpochs().Begun(), s.encodeBoots().Begun())
	f.Fuzz(func(_ *testing.T, base, epochs, boots []byte) {
		var s state
		for read, b := range map[*[]byte]func(*codec.Decoder){&base: s.decodeBase, &epochs: s.decodeEpochs, &boots: s.decodeBoots} {
			b(codec.NewDecoder(*read))
		}
		s.decodeHead(codec.NewDecoder(base))
	})
}

func TestEpochOf(t *testing.T) {
	var s state
	s.relabel(1, 100)
	s.relabel(10, 200)
	s.relabel(20, 300)
	s.relabel(15, 400) // takes the place of what was above
	for seq, want := range map[uint64]uint64{1: 100, 9: 100, 10: 200, 14: 200, 15: 400, 99: 400} {
		if got := s.epochOf(seq); got != want {
			t.Errorf("epoch of %d is %d, want %d", seq, got, want)
		}
	}
	s.prune(12)
	if len(s.epochs) != 2 || s.epochOf(12) != 200 {
		t.Errorf("pruned to %v", s.epochs)
	}
}
