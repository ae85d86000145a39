package values

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

var key7 = binary.BigEndian.AppendUint64(nil, 7)

func FuzzDecodeState(f *testing.F) {
	w := scan.Waybill{CreateTime: 1, Receiver: scan.Party{Name: "李四", Phone: "13800138000"}}
	f.Add(EncodeState(nil, &judge.State{Data: &w, Imported: true, Since: -1, Changed: 2, Applied: 3, Nodes: []judge.Node{{Epoch: 1, Seq: 2}}}))
	f.Add(Seal(nil, []byte{stateForm, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range [][]byte{b, Seal(nil, bytes.Clone(b))} {
			changed, cerr := ChangedOf(nil, v)
			st, err := DecodeState(nil, v)
			if err != nil {
				continue
			}
			if cerr != nil || changed != st.Changed {
				t.Fatalf("ChangedOf %d, %v; state says %d", changed, cerr, st.Changed)
			}
			again, err := DecodeState([]byte("YT1"), EncodeState([]byte("YT1"), st))
			if err != nil || fmt.Sprintf("%+v", again.Nodes) != fmt.Sprintf("%+v", st.Nodes) || again.HasData() != st.HasData() {
				t.Fatalf("does not come back: %v", err)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	w := scan.Waybill{CreateTime: 1}
	for _, r := range []*judge.Record{
		{Kind: judge.RecordEvent, At: 1, Result: snapshot.Taken, Waybill: "A", Node: judge.Node{Epoch: 1, Seq: 2, PathNode: scan.PathNode{Depot: "d", EventID: "e"}}},
		{Kind: judge.RecordMark, At: 1, Result: snapshot.Duplicate, Number: judge.Number{Depot: "d", Epoch: 1, Seq: 2}, Ident: 3},
		{Kind: judge.RecordData, Waybill: "A", Data: &w, Imported: true},
		{Kind: judge.RecordBinding, Binding: judge.Binding{Exist: true, At: 9}},
	} {
		f.Add(EncodeRecord(nil, r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range [][]byte{b, Seal(nil, bytes.Clone(b))} {
			r, err := DecodeRecord(nil, v)
			if err != nil {
				continue
			}
			if again, err := DecodeRecord(key7, EncodeRecord(key7, r)); err != nil || again.Ident != r.Ident || again.Number != r.Number {
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
