package values

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
)

// full is a state with something in each field.
func full(nodes int) *judge.State {
	party := func(s string) scan.Party {
		p := scan.Party{Phone: scan.Phone("PRIVATE" + s)}
		for i, f := range []*scan.Private{&p.Name, &p.Province, &p.City, &p.Area, &p.Street, &p.Address, &p.ID} {
			*f = scan.Private(fmt.Sprint("PRIVATE", s, i))
		}
		return p
	}
	w := scan.Waybill{CreateTime: 1, Sender: party("s"), Receiver: party("r")}
	st := &judge.State{Data: &w, Imported: true, Since: 3, Changed: 4, Applied: 5, Mother: "M", Children: 2}
	for i := range nodes {
		courier := scan.Courier{Name: "PRIVATE name", Phone: "PRIVATE phone"}
		st.Nodes = append(st.Nodes, judge.Node{Epoch: 1, Seq: uint64(i), PathNode: scan.PathNode{
			Depot: "hz-01", EventID: fmt.Sprint("e", i), ActionTime: 9, ActionType: 200001, ActionMsg: "PRIVATE 快件到达 【杭州转运中心】",
			Pickup: courier, Delivery: courier, Muted: i%2 == 0, Late: i%3 == 0, Parcel: "P",
		}})
	}
	return st
}

// records are one of each kind that holds something personal.
func records() (all []*judge.Record) {
	st := full(1)
	n := st.Nodes[0]
	return []*judge.Record{
		{
			Kind: judge.RecordEvent, At: 1, Number: judge.Number{Depot: n.Depot, Epoch: n.Epoch, Seq: n.Seq}, Base: 7,
			Ident: judge.Identity("P", n.EventID), Result: snapshot.Late, Waybill: "A", Node: n,
		},
		{Kind: judge.RecordMove, At: 1, Waybill: "A", Node: n},
		{Kind: judge.RecordData, At: 1, Waybill: "A", Data: st.Data, Imported: true},
	}
}

// TestNothingPersonalInClear: a value shows nothing of it, comes back whole, and opens
// nowhere else: not under another key, nor in another bucket, nor with another's rest.
func TestNothingPersonalInClear(t *testing.T) {
	keys := ring(t)
	key := []byte("YT1")
	st := full(3)
	v := EncodeState(keys, key, st)
	if got, err := DecodeState(keys, key, v); err != nil || !reflect.DeepEqual(got, st) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, st)
	}
	if bytes.Contains(v, []byte("PRIVATE")) || InClear("waybills", v) {
		t.Errorf("in clear: %q", v)
	}
	moved := Seal([]byte("YT2"), bytes.Clone(v[:len(v)-4]))
	if _, err := DecodeState(keys, []byte("YT2"), moved); !errors.Is(err, datakey.ErrKey) {
		t.Errorf("under another key: %v", err)
	}
	changed := bytes.Clone(v[:len(v)-4])
	changed[4] ^= 1 // a time
	if _, err := DecodeState(keys, key, Seal(key, changed)); !errors.Is(err, datakey.ErrKey) {
		t.Errorf("with another rest: %v", err)
	}
	if _, err := DecodeState(ring(t), key, v); !errors.Is(err, datakey.ErrKey) || errors.Is(err, ErrDamaged) {
		t.Errorf("with other keys: %v", err)
	}
	peeked, err := PeekState(key, v)
	if err != nil || Check("waybills")(key, v) != nil || peeked.LastSign() != st.LastSign() || peeked.Nodes[2].EventID != "e2" ||
		peeked.Nodes[2].ActionMsg != "" || peeked.Data.Receiver != (scan.Party{}) {
		t.Errorf("without keys: %+v, %v", peeked, err)
	}
	for _, r := range records() {
		v := EncodeRecord(keys, key7, r)
		if got, err := DecodeRecord(keys, key7, v); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, r)
		}
		if bytes.Contains(v, []byte("PRIVATE")) || InClear("log", v) {
			t.Errorf("in clear: %q", v)
		}
		if err := Check("log")(key7, v); err != nil {
			t.Errorf("without keys: %v", err)
		}
		moved := Seal(EpochKey("d", 1)[:8], bytes.Clone(v[:len(v)-4]))
		if _, err := DecodeRecord(keys, EpochKey("d", 1)[:8], moved); !errors.Is(err, datakey.ErrKey) {
			t.Errorf("under another key: %v", err)
		}
	}
	empty := &judge.State{Mother: "M", Changed: 4, Nodes: []judge.Node{}}
	if got, err := DecodeState(ring(t), key, EncodeState(keys, key, empty)); err != nil || !reflect.DeepEqual(got, empty) {
		t.Errorf("what holds nothing personal: %+v, %v", got, err)
	}
}

// TestInClear: what a version before wrote is read without any key, and known.
func TestInClear(t *testing.T) {
	st := full(2)
	v := stateInClear([]byte("YT1"), st)
	got, err := DecodeState(nil, []byte("YT1"), v)
	if err != nil || !InClear("waybills", v) || *got.Data != *st.Data || got.Nodes[1].ActionMsg != st.Nodes[1].ActionMsg {
		t.Errorf("%+v, %v", got, err)
	}
	r := records()[0]
	v = recordInClear(key7, r)
	rec, err := DecodeRecord(nil, key7, v)
	if err != nil || !InClear("log", v) || rec.Node.ActionMsg != r.Node.ActionMsg || rec.Node.Delivery != r.Node.Delivery {
		t.Errorf("%+v, %v", rec, err)
	}
	keys := ring(t)
	d := EncryptDamaged(keys, []byte("k"), []byte("PRIVATE"))
	if bytes.Contains(d, []byte("PRIVATE")) || !bytes.Equal(EncryptDamaged(keys, []byte("k"), d), d) {
		t.Errorf("damaged: %q", d)
	}
}

func BenchmarkEncodeState(b *testing.B) {
	keys, st := ring(b), full(5)
	b.ReportAllocs()
	for b.Loop() {
		EncodeState(keys, []byte("YT6900634716900"), st)
	}
}

func BenchmarkDecodeState(b *testing.B) {
	keys := ring(b)
	key := []byte("YT6900634716900")
	for name, v := range map[string][]byte{"encrypted": EncodeState(keys, key, full(5)), "clear": stateInClear(key, full(5))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeState(keys, key, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
