package snapshottest

import (
	"fmt"
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// shipment imports a waybill, created that many days after start, with parcels.
func (w *world) shipment(id string, days int, children ...scan.WaybillID) snapshot.Imported {
	w.Helper()
	w.rest()
	got, err := w.store.Import(w.Context(), []snapshot.Import{
		{Waybill: scan.WaybillID(id), Data: data(days, phoneA), Children: children}, {Waybill: "BESIDE1", Data: data(0, phoneB)},
	})
	if err != nil {
		w.Fatalf("import: %v", err)
	}
	return got
}

// ofParcel holds answers to what a parcel's scan is told.
func (w *world) ofParcel(got []snapshot.Answer) {
	w.Helper()
	for _, a := range got {
		if a.Result != snapshot.Late || !strings.Contains(a.Reason, "a parcel's number") {
			w.Fatalf("answers of a parcel %+v", got)
		}
	}
}

// A parcel's scan is a node of its mother, is not pushed, and makes nothing late;
// the same event id on several labels is as many events.
func contractParcels(w *world) {
	w.equal("gained", w.shipment(wb, 0, "CHILD01", "CHILD02").Gained, []scan.WaybillID{wb, "CHILD01", "CHILD02", "BESIDE1"})
	w.equal("gained again", len(w.shipment(wb, 0, "CHILD02").Gained), 0)
	first := batch(hz, 1, ev(1, "CHILD01", "a", 10), ev(2, "CHILD02", "a", 20), with(ev(3, "CHILD01", "b", 30), data(0, phoneB)))
	for range 2 {
		m := w.merge(first)
		w.ofParcel(m.Answers)
		w.equal("gained with a scan", len(m.Gained), 0)
	}
	w.ofParcel(w.asks(hz, 1, first.Events...))
	w.want(w.asks(sh, 1, first.Events[0]), snapshot.Unknown)
	w.want(w.merge(batch(hz, 2, ev(4, "CHILD01", "a", 10))).Answers, snapshot.Duplicate)
	own := ev(1, wb, "a", 5)
	w.want(w.merge(batch(sh, 1, own)).Answers, snapshot.Taken)
	w.want(w.asks(sh, 1, own), snapshot.Taken)
	for _, id := range []string{wb, "CHILD01"} { // whichever number is asked for
		got, ok := w.lookup(id)
		if !ok || got.ID != wb || got.Data == nil || got.Data.Receiver.Phone != phoneA {
			w.Fatalf("lookup of %s: %+v", id, got)
		}
		w.equal("path", pathOf(got.Nodes), "hz-01/a hz-01/a hz-01/b sh-01/a ")
		w.equal("parcels", got.Nodes[0].Parcel+" "+got.Nodes[1].Parcel+" "+got.Nodes[3].Parcel, "CHILD01 CHILD02 ")
	}
	for depot, want := range map[scan.DepotID]int{hz: 2, "": 2, "others": 0} {
		known, err := w.store.Known(w.Context(), depot, []scan.WaybillID{"CHILD01", wb})
		if err != nil || len(known) != want || want > 0 && (!known[0].Parcel || known[0].Data.CreateTime != 0 || known[1].Parcel) {
			w.Fatalf("known to %q: %+v, %v", depot, known, err)
		}
	}
}

// What was scanned before its number is known as a parcel's moves, is told of, and
// is answered like all of a parcel.
func contractLateParcels(w *world) {
	b := batch(hz, 1, ev(1, "CHILD01", "a", 10), ev(2, wb, "b", 5), ev(3, "CHILD02", "a", 10))
	w.want(w.merge(b).Answers, snapshot.Taken, snapshot.Taken, snapshot.Taken)
	w.imports("CHILD02", data(0, phoneB)) // as a waybill of its own, until now
	w.equal("gained", w.shipment(wb, 0, "CHILD01", "CHILD02").Gained, []scan.WaybillID{wb, "CHILD01", "CHILD02", "BESIDE1"})
	w.equal("path", w.path(wb), "hz-01/b hz-01/a hz-01/a ")
	w.ofParcel(w.asks(hz, 1, b.Events[0], b.Events[2]))
	w.want(w.asks(hz, 1, b.Events[1]), snapshot.Taken)
	again := w.merge(b).Answers
	w.ofParcel([]snapshot.Answer{again[0], again[2]})
	w.want(again[1:2], snapshot.Taken)
	w.equal("path", w.path(wb), "hz-01/b hz-01/a hz-01/a ")
}

// What contradicts itself is refused in words, wholly; the items beside it are taken.
func contractBadParcels(w *world) {
	w.shipment(wb, 0, "CHILD01")
	w.merge(batch(hz, 1, ev(1, "OTHER99", "a", 1), ev(2, "CHILD09", "b", 1)))
	for _, c := range []struct {
		id, why  string
		children []scan.WaybillID
	}{
		{"OTHER99", "CHILD01 is a parcel of waybill " + wb, []scan.WaybillID{"CHILD09", "CHILD01"}},
		{"OTHER99", "the waybill itself", []scan.WaybillID{"CHILD09", "OTHER99"}},
		{"OTHER99", wb + " is a waybill that has parcels", []scan.WaybillID{wb}},
		{"OTHER99", "longer", []scan.WaybillID{scan.WaybillID(strings.Repeat("C", 65))}},
		{"CHILD01", "is a parcel's number, of waybill " + wb, nil},
		{"CHILD01", "is a parcel's number, of waybill " + wb, []scan.WaybillID{"CHILD09"}},
	} {
		got := w.shipment(c.id, 0, c.children...)
		if len(got.Refused) != 1 || got.Refused[0].Item != 0 || !strings.Contains(got.Refused[0].Why, c.why) || len(got.Gained) > 0 {
			w.Fatalf("%s with %s: %+v", c.id, c.children, got)
		}
	}
	if other, _ := w.lookup("OTHER99"); other.Data != nil {
		w.Fatal("some of a refused item was taken")
	}
	w.equal("path", w.path("CHILD09"), "hz-01/b ")
	// A number that is reused much later is free.
	w.equal("reused", len(w.shipment("OTHER99", 31, "CHILD01").Refused), 0)
	w.ofParcel(w.merge(batch(hz, 1, ev(3, "CHILD01", "c", 31*24*60))).Answers)
	w.equal("reused alone", len(w.shipment("CHILD01", 62).Refused), 0)
	w.want(w.merge(batch(hz, 1, ev(4, "CHILD01", "d", 62*24*60))).Answers, snapshot.Taken)
}

// A parcel is forgotten with its mother, not before.
func contractForgetParcels(w *world) {
	w.shipment(wb, 0, "CHILD01")
	w.shipment("OTHER99", 0, "CHILD02")
	const day = 24 * 60
	w.set(w.clock.Add(20 * 24 * time.Hour))
	w.merge(batch(hz, 1, ev(1, wb, "a", 20*day)))
	w.set(w.clock.Add(15 * 24 * time.Hour))
	w.merge(batch(hz, 1, ev(2, "LATER99", "b", 35*day)))
	w.equal("gone", w.forget(30*24*time.Hour, 1, true), 3) // OTHER99 with CHILD02, BESIDE1
	if _, ok := w.lookup("CHILD02"); ok {
		w.Fatal("a parcel is kept without its mother")
	}
	m := w.merge(batch(hz, 1, ev(3, "CHILD01", "c", 20*day), ev(4, "CHILD02", "d", 20*day)))
	w.ofParcel(m.Answers[:1])
	w.want(m.Answers[1:], snapshot.Taken)
}

// Parcels' nodes leave room for the waybill's own, and their number is bounded.
func contractManyParcels(w *world) {
	var children []scan.WaybillID
	for i := range snapshot.MaxChildren {
		children = append(children, scan.WaybillID(fmt.Sprintf("CHILD%04d", i)))
	}
	w.equal("refused", len(w.shipment(wb, 0, children...).Refused), 0)
	if got := w.shipment(wb, 0, "CHILD01", "CHILD9999").Refused; len(got) != 1 || !strings.Contains(got[0].Why, "at most 1000") {
		w.Fatalf("too many: %+v", got)
	}
	var events []snapshot.Event
	for i, child := range children {
		events = append(events, ev(uint64(i+1), string(child), "a", 10))
	}
	for range 2 {
		w.ofParcel(w.merge(batch(hz, 1, events...)).Answers)
	}
	w.ofParcel(w.asks(hz, 1, events...))
	got, _ := w.lookup(wb)
	w.equal("nodes", len(got.Nodes), snapshot.MaxParcelNodes)
	w.want(w.merge(batch(hz, 1, ev(1001, wb, "own", 5))).Answers, snapshot.Taken)
}
