package values

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
)

var key7 = binary.BigEndian.AppendUint64(nil, 7)

// ring returns keys.
func ring(t testing.TB) *datakey.Ring {
	r := datakey.New()
	if err := r.Begin([]masterkey.Key{masterkey.Random()}, []byte("phones"), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return r
}

// inClear is what a version before encryption wrote.
func stateInClear(key []byte, s *judge.State) []byte {
	e := enc{b: []byte{clearForm, flagData}}
	e.int(s.Since)
	e.int(s.Changed)
	e.uint(s.Applied)
	e.waybill(&e, s.Data)
	e.uint(uint64(len(s.Nodes)))
	for i := range s.Nodes {
		e.node(&e, &s.Nodes[i])
	}
	return Seal(key, e.b)
}

func recordInClear(key []byte, r *judge.Record) []byte {
	e := enc{b: []byte{byte(r.Kind)}}
	e.int(r.At)
	e.byte(byte(r.Result))
	e.uint(r.Base)
	e.str(string(r.Waybill))
	e.node(&e, &r.Node)
	return Seal(key, e.b)
}

func FuzzDecodeState(f *testing.F) {
	w := scan.Waybill{CreateTime: 1, Receiver: scan.Party{Name: "李四", Phone: "13800138000"}}
	keys := ring(f)
	f.Add(stateInClear(nil, &judge.State{Data: &w, Changed: 2, Nodes: []judge.Node{{Epoch: 1, Seq: 2}}}))
	f.Add([]byte{stateForm, 200, 1})
	f.Add(EncodeState(keys, nil, &judge.State{Data: &w, Imported: true, Since: -1, Changed: 2, Applied: 3, Nodes: []judge.Node{{Epoch: 1, Seq: 2}}}))
	f.Add(Seal(nil, []byte{stateForm, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range [][]byte{b, Seal(nil, bytes.Clone(b))} {
			changed, cerr := ChangedOf(nil, v)
			peeked, perr := PeekState(nil, v)
			st, err := DecodeState(keys, nil, v)
			if errors.Is(err, datakey.ErrKey) { // what it says in clear is believed, as its sum is right
				if errors.Is(err, ErrDamaged) || perr != nil {
					t.Fatalf("%v; in clear: %v", err, perr)
				}
				continue
			}
			if err != nil {
				continue
			}
			if perr != nil || peeked.LastSign() != st.LastSign() || peeked.HasData() != st.HasData() {
				t.Fatalf("peeked %+v, %v", peeked, perr)
			}
			if cerr != nil || changed != st.Changed {
				t.Fatalf("ChangedOf %d, %v; state says %d", changed, cerr, st.Changed)
			}
			again, err := DecodeState(keys, []byte("YT1"), EncodeState(keys, []byte("YT1"), st))
			if err != nil || fmt.Sprintf("%+v", again.Nodes) != fmt.Sprintf("%+v", st.Nodes) || again.HasData() != st.HasData() {
				t.Fatalf("does not come back: %v", err)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	w := scan.Waybill{CreateTime: 1}
	keys := ring(f)
	f.Add(recordInClear(nil, &judge.Record{Kind: judge.RecordEvent, Waybill: "A", Node: judge.Node{PathNode: scan.PathNode{EventID: "e", ActionMsg: "到"}}}))
	for _, r := range []*judge.Record{
		{Kind: judge.RecordEvent, At: 1, Result: snapshot.Taken, Waybill: "A", Node: judge.Node{Epoch: 1, Seq: 2, PathNode: scan.PathNode{Depot: "d", EventID: "e"}}},
		{Kind: judge.RecordMark, At: 1, Result: snapshot.Duplicate, Number: judge.Number{Depot: "d", Epoch: 1, Seq: 2}, Ident: 3},
		{Kind: judge.RecordData, Waybill: "A", Data: &w, Imported: true},
		{Kind: judge.RecordBinding, Binding: judge.Binding{Exist: true, At: 9}},
	} {
		f.Add(EncodeRecord(keys, nil, r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range [][]byte{b, Seal(nil, bytes.Clone(b))} {
			r, err := DecodeRecord(keys, nil, v)
			if errors.Is(err, datakey.ErrKey) && (errors.Is(err, ErrDamaged) || Check("log")(key7, Seal(key7, bytes.Clone(v[:len(v)-4]))) != nil) {
				t.Fatal(err)
			}
			if err != nil {
				continue
			}
			if again, err := DecodeRecord(keys, key7, EncodeRecord(keys, key7, r)); err != nil || again.Ident != r.Ident || again.Number != r.Number {
				t.Fatalf("does not come back: %v", err)
			}
		}
	})
}

func FuzzDecodeEpoch(f *testing.F) {
	f.Add(EncodeEpoch(EpochKey("a", 1), &judge.Epoch{Have: 5, Gaps: []judge.Span{{From: 1, To: 2}}}))
	f.Add(binary.AppendUvarint(nil, 1<<63))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = DecodeEpoch(EpochKey("a", 1), b)
		_, _ = DecodeEpoch(EpochKey("a", 1), Seal(EpochKey("a", 1), bytes.Clone(b)))
		_, _, _ = ParseEpochKey(b)
	})
}
