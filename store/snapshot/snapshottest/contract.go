package snapshottest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// Run holds a store to the contract. It runs the cases with a store that stays
// open, and again with one that is opened anew before every call.
func Run(t *testing.T, fresh Fresh) {
	cases := []struct {
		name string
		run  func(w *world)
	}{
		{"lateness", contractLateness}, {"muted", contractMuted}, {"asks", contractAsks},
		{"same answers", contractSameAnswers}, {"duplicate", contractDuplicate}, {"relabelled", contractRelabelled}, {"refused", contractRefused},
		{"conflict", contractConflict}, {"rewind", contractRewind}, {"put back", contractPutBack}, {"put back, one depot", contractPutBackAlone}, {"gaps", contractGaps}, {"new epoch", contractEpochs},
		{"many epochs", contractManyEpochs},
		{"data precedence", contractData}, {"data with a batch", contractGained}, {"new life", contractLife},
		{"bindings", contractBindings}, {"forget", contractForget},
		{"parcels", contractParcels}, {"parcels after scans", contractLateParcels}, {"parcels refused", contractBadParcels},
		{"parcels forgotten", contractForgetParcels}, {"many parcels", contractManyParcels},
		{"clock ahead", contractClockAhead}, {"clock behind", contractClockBehind}, {"time jumps", contractTimeJumps},
		{"time of one depot", contractLyingDepot}, {"path bound", contractBound},
		{"whole node", contractWholeNode}, {"bad calls", contractBadCalls}, {"health", contractHealth},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(newWorld(t, fresh, false)) })
		t.Run(c.name+", reopened", func(t *testing.T) { c.run(newWorld(t, fresh, true)) })
	}
	RunAtRandom(t, fresh)
}

// RunAtRandom holds a store to the part of the contract in which chance decides what
// happens, and what at once.
func RunAtRandom(t *testing.T, fresh Fresh) {
	t.Run("random", func(t *testing.T) { contractRandom(t, fresh) })
	t.Run("read while merging", func(t *testing.T) { contractConcurrent(t, fresh) })
}

const (
	hz = scan.DepotID("hz-01")
	sh = scan.DepotID("sh-01")
	wb = "YT1234567890123"
)

// Against the nodes merged before, of any depot; ties are not late.
func contractLateness(w *world) {
	w.want(w.merge(batch(hz, 1, ev(1, wb, "a", 10))).Answers, snapshot.Taken)
	w.want(w.merge(batch(sh, 1, ev(1, wb, "b", 9), ev(2, wb, "c", 10), ev(3, wb, "d", 20))).Answers,
		snapshot.Late, snapshot.Taken, snapshot.Taken)
	w.want(w.merge(batch(hz, 1, ev(2, wb, "e", 19), ev(3, wb, "f", 20))).Answers, snapshot.Late, snapshot.Taken)
	w.equal("path", w.path(wb), "hz-01/a sh-01/b! sh-01/c sh-01/d hz-01/e! hz-01/f ")
	w.want(w.merge(batch(hz, 1, ev(4, "OTHER99", "g", 1))).Answers, snapshot.Taken) // another waybill's nodes don't matter
}

// A muted node makes none late, but may be late itself.
func contractMuted(w *world) {
	w.merge(batch(hz, 1, muted(ev(1, wb, "a", 100))))
	w.want(w.merge(batch(sh, 1, ev(1, wb, "b", 5), muted(ev(2, wb, "c", 4)))).Answers, snapshot.Taken, snapshot.Late)
	w.want(w.asks(sh, 1, ev(1, wb, "b", 5)), snapshot.Taken)
}

// Asked again, an event is late by newer nodes of other depots, not by its own
// depot's; by number and identity.
func contractAsks(w *world) {
	a, b := ev(1, wb, "a", 10), ev(2, wb, "b", 20)
	w.merge(batch(hz, 1, a, b))
	w.want(w.asks(hz, 1, a, b), snapshot.Taken, snapshot.Taken)
	w.merge(batch(sh, 1, ev(1, wb, "c", 15)))
	w.want(w.asks(sh, 1, ev(1, wb, "c", 15)), snapshot.Late) // it was late when it came
	w.merge(batch(sh, 1, ev(2, wb, "d", 20)))
	w.want(w.asks(hz, 1, a, b), snapshot.Late, snapshot.Taken) // ties are not late
	w.want(w.asks(hz, 1, ev(9, wb, "never", 1), ev(1, "NEVER99", "a", 1)), snapshot.Unknown, snapshot.Unknown)
	w.want(w.asks(sh, 1, a), snapshot.Unknown) // another depot's event
	if w.asks(hz, 1, a)[0].HasData {
		w.Fatal("has data that nobody sent")
	}
	w.imports(wb, data(0, phoneA))
	if !w.asks(hz, 1, a)[0].HasData {
		w.Fatal("has no data after the import")
	}
}

// A batch twice gets the same answers, whatever came between.
func contractSameAnswers(w *world) {
	first := batch(hz, 1, ev(1, wb, "a", 10), ev(2, wb, "b", 5), ev(3, "OTHER99", "c", 1))
	answers := w.merge(first).Answers
	w.want(answers, snapshot.Taken, snapshot.Late, snapshot.Taken)
	w.merge(batch(sh, 1, ev(1, wb, "d", 99)))
	again := w.merge(first)
	w.equal("answers", again.Answers, answers)
	w.equal("have", again.Have, 3)
	w.equal("path", w.path(wb), "hz-01/a hz-01/b! sh-01/d ")
	// It overlaps with what is new.
	w.want(w.merge(batch(hz, 1, ev(3, "OTHER99", "c", 1), ev(4, wb, "e", 100))).Answers, snapshot.Taken, snapshot.Taken)
	w.equal("numbering", w.depot().Events, 4)
}

// The same identity under another number, within a batch and later; another
// depot's event of that id is another event.
func contractDuplicate(w *world) {
	w.want(w.merge(batch(hz, 1, ev(1, wb, "a", 10), ev(2, wb, "a", 10))).Answers, snapshot.Taken, snapshot.Duplicate)
	second := batch(hz, 2, ev(3, wb, "a", 10), ev(4, wb, "b", 10))
	w.want(w.merge(second).Answers, snapshot.Duplicate, snapshot.Taken)
	w.want(w.merge(second).Answers, snapshot.Duplicate, snapshot.Taken)
	w.want(w.merge(batch(sh, 1, ev(1, wb, "a", 10))).Answers, snapshot.Taken)
	w.want(w.asks(hz, 2, ev(3, wb, "a", 10)), snapshot.Duplicate)
	w.want(w.asks(hz, 1, ev(1, wb, "a", 10)), snapshot.Taken)
	w.equal("path", w.path(wb), "hz-01/a hz-01/b sh-01/a ")
}

// What is sent again under another epoch with its number is the same event, and is
// answered as before: its store lost the end, and with it what the centre had answered.
// A duplicate stays one.
func contractRelabelled(w *world) {
	events := []snapshot.Event{ev(1, wb, "a", 10), ev(2, wb, "b", 5), ev(3, wb, "a", 10), ev(4, wb, "c", 20)}
	first := w.merge(batch(hz, 1, events...))
	w.want(first.Answers, snapshot.Taken, snapshot.Late, snapshot.Duplicate, snapshot.Taken)
	for range 2 {
		m := w.merge(batch(hz, 2, append(events[1:4:4], ev(5, wb, "d", 30))...))
		w.want(m.Answers, snapshot.Late, snapshot.Duplicate, snapshot.Taken, snapshot.Taken)
		w.equal("have", m.Have, 5)
		w.equal("epochs", [2]uint64{m.Answers[2].Epoch, m.Answers[3].Epoch}, [2]uint64{1, 0})
	}
	asked := w.asks(hz, 2, events[1:]...)
	w.want(asked, snapshot.Late, snapshot.Duplicate, snapshot.Taken)
	w.equal("epoch of what is asked", asked[2].Epoch, uint64(1))
	w.equal("epoch of what it is asked under", w.asks(hz, 1, events[3])[0].Epoch, uint64(0))
	w.equal("path", w.path(wb), "hz-01/a hz-01/b! hz-01/c hz-01/d ")
}

func contractRefused(w *world) {
	bad := ev(1, wb, "a", 10)
	bad.Refuse = "action_msg is missing"
	long := ev(2, string(make([]byte, snapshot.MaxWaybillID+1)), "b", 1)
	none := ev(3, "", "c", 1)
	for range 2 {
		m := w.merge(batch(hz, 1, bad, long, none, ev(4, wb, "d", 1)))
		w.want(m.Answers, snapshot.Refused, snapshot.Refused, snapshot.Refused, snapshot.Taken)
		w.equal("reason", m.Answers[0].Reason, bad.Refuse)
		w.equal("have", m.Have, 4)
	}
	w.want(w.asks(hz, 1, bad), snapshot.Refused)
	w.equal("path", w.path(wb), "hz-01/d ")
}

// Another identity under a known number: nothing of the batch is merged.
func contractConflict(w *world) {
	w.merge(batch(hz, 1, ev(1, wb, "a", 1), ev(2, wb, "b", 2)))
	m := w.merge(batch(hz, 1, ev(1, wb, "a", 1), ev(2, wb, "other", 2), ev(3, wb, "c", 3)))
	w.want(m.Answers, snapshot.Taken, snapshot.Conflict, snapshot.Conflict)
	w.equal("have", m.Have, 2)
	w.equal("path", w.path(wb), "hz-01/a hz-01/b ")
	// Under a new epoch all of it is new, and is pushed.
	w.want(w.merge(batch(hz, 2, ev(2, wb, "other", 2), ev(3, wb, "c", 3))).Answers, snapshot.Taken, snapshot.Taken)
}

func contractRewind(w *world) {
	m := w.merge(batch(hz, 1, ev(5, wb, "a", 1)))
	if !m.Rewind || m.Have != 0 || len(m.Answers) != 0 {
		w.Fatalf("numbers 1 to 4 are missing: %+v", m)
	}
	if _, ok := w.lookup(wb); ok {
		w.Fatal("merged although it was to be rewound")
	}
	w.merge(batch(hz, 1, ev(1, wb, "a", 1), ev(2, wb, "b", 1)))
	m = w.merge(batch(hz, 1, ev(4, wb, "d", 1)))
	if !m.Rewind || !m.Lost || m.Have != 2 {
		w.Fatalf("number 3 is missing: %+v", m)
	}
	w.equal("have of an empty sync", w.merge(snapshot.Batch{Depot: hz, Epoch: 1, NextSeq: 9}).Have, 2)
	w.equal("have of another depot", w.merge(snapshot.Batch{Depot: sh, Epoch: 1, NextSeq: 9}).Have, 0)
}

// ahead is a depot's word that it was answered for what the store does not have.
func (w *world) ahead(depot scan.DepotID, seq uint64) {
	w.Helper()
	if m := w.merge(batch(depot, 1, ev(seq, wb, fmt.Sprint("ahead", seq), 1))); !m.Lost {
		w.Fatalf("it has all up to %d: %+v", seq, m)
	}
}

// missing checks of which time the store says that it knows nothing.
func (w *world) missing(what string, from, to time.Time) {
	w.Helper()
	w.rest()
	s, err := w.store.Stats(w.Context())
	if err != nil {
		w.Fatalf("stats: %v", err)
	}
	w.equal(what, s.Missing, to.Sub(from))
	word := fmt.Sprintf("imported between %s and %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	if said := strings.Join(s.Damage, "\n"); from != to && !strings.Contains(said, word) {
		w.Fatalf("%s: it says %q, not %q", what, said, word)
	}
}

// A store that was put back from a backup is told by two depots' words of the same
// time, whichever hears them; and so is one that is put back again.
func contractPutBack(w *world) {
	minute := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
	w.merge(batch(hz, 1, ev(1, wb, "a", 1)))
	w.set(minute(10))
	w.merge(batch(sh, 1, ev(1, wb, "b", 1)))
	w.missing("nobody says so", start, start)
	w.set(minute(60))
	for seq := uint64(50); seq < 53; seq++ {
		w.ahead(hz, seq)
	}
	w.ahead("new-01", 50) // which another store may have answered
	w.missing("one of two says so", start, start)
	w.set(minute(70))
	w.ahead(sh, 50)
	w.missing("two say so", minute(10), minute(60))
	w.set(minute(80))
	w.ahead(sh, 60)
	w.missing("it is told already", minute(10), minute(60))
	w.merge(batch(hz, 1, ev(2, wb, "c", 1)))
	w.merge(batch(sh, 1, ev(2, wb, "d", 1)))
	w.set(minute(90))
	w.ahead(hz, 70)
	w.missing("one says it again", minute(10), minute(60))
	w.ahead(sh, 70)
	w.missing("put back again", minute(10), minute(90))
}

// The word of a depot that is alone is all that there is.
func contractPutBackAlone(w *world) {
	w.merge(batch(hz, 1, ev(1, wb, "a", 1)))
	w.set(start.Add(8 * 24 * time.Hour))
	w.merge(batch(sh, 1, ev(1, wb, "b", 1)))
	w.set(start.Add(9 * 24 * time.Hour))
	w.ahead(sh, 50)
	w.missing("the other has been silent for a week", start.Add(8*24*time.Hour), start.Add(9*24*time.Hour))
}

// Numbers that the depot no longer has are a gap, named once, and closed when
// they come after all.
func contractGaps(w *world) {
	b := batch(hz, 1, ev(4, wb, "a", 1), ev(8, wb, "b", 1))
	b.From = 1
	m := w.merge(b)
	w.want(m.Answers, snapshot.Taken, snapshot.Taken)
	gaps := []snapshot.Gap{{Depot: hz, Epoch: 1, From: 1, To: 3}, {Depot: hz, Epoch: 1, From: 5, To: 7}}
	w.equal("gaps", m.Gaps, gaps)
	w.equal("gaps again", len(w.merge(b).Gaps), 0)
	w.equal("kept", w.depot().Gaps, gaps)
	w.rest()
	one, ok, err := w.store.Depot(w.Context(), hz)
	w.equal("of one depot", []any{one, ok, err}, []any{w.depot(), true, nil})
	one, ok, err = w.store.Depot(w.Context(), sh)
	w.equal("of one that is not there", []any{one.ID, ok, err}, []any{"", false, nil})
	w.want(w.merge(batch(hz, 1, ev(6, wb, "c", 1))).Answers, snapshot.Taken)
	w.equal("closed in part", w.depot().Gaps, []snapshot.Gap{
		gaps[0], {Depot: hz, Epoch: 1, From: 5, To: 5}, {Depot: hz, Epoch: 1, From: 7, To: 7},
	})
	w.equal("have", w.merge(snapshot.Batch{Depot: hz, Epoch: 1, NextSeq: 9}).Have, 8)
}

// A new epoch goes on with the numbers of the last: no rewind, no gap.
func contractEpochs(w *world) {
	w.merge(batch(hz, 1, ev(1, wb, "a", 1), ev(2, wb, "b", 2)))
	have := func(epoch, next uint64) uint64 {
		return w.merge(snapshot.Batch{Depot: hz, Epoch: epoch, NextSeq: next}).Have
	}
	w.equal("have before its first event", have(2, 3), 2)
	m := w.merge(batch(hz, 2, ev(3, wb, "c", 3)))
	w.equal("have", m.Have, 3)
	w.equal("gaps", len(m.Gaps), 0)
	w.equal("have of the old one", have(1, 4), 2)
	// A restored card: its numbers begin lower, and must not call for another epoch.
	w.equal("have of a restored card", have(7, 2), 1)
	m = w.merge(batch(hz, 7, ev(2, wb, "d", 4)))
	w.want(m.Answers, snapshot.Taken)
	w.equal("have", m.Have, 2)
	// This centre lost the end of the old epoch: the depot must send it again.
	m = w.merge(batch(hz, 8, ev(9, wb, "e", 5)))
	if !m.Rewind || m.Have != 2 {
		w.Fatalf("3 to 8 were believed delivered: %+v", m)
	}
}

// Of a depot that makes epochs without end the last ones are kept; what it sends
// again of an older one gets the same answer, and calls for nothing more.
func contractManyEpochs(w *world) {
	const epochs = 3 * snapshot.MaxEpochs
	var first snapshot.Batch
	for i := uint64(1); i <= epochs; i++ {
		b := batch(hz, i, ev(2*i, wb, fmt.Sprint("e", i), int(i)))
		b.From = 2*i - 1 // and a gap in each
		if i == 1 {
			first = b
		}
		w.want(w.merge(b).Answers, snapshot.Taken)
	}
	check := func() {
		w.Helper()
		d := w.depot()
		w.equal("epoch", d.Epoch, uint64(epochs))
		w.equal("have", d.Have, uint64(2*epochs))
		w.equal("events", d.Events, uint64(epochs))
		w.equal("gaps", len(d.Gaps), snapshot.MaxEpochs)
	}
	check()
	m := w.merge(first)
	w.want(m.Answers, snapshot.Taken)
	w.equal("found with what came again", len(m.Gaps), 0)
	check()
	w.equal("have of the last", w.merge(snapshot.Batch{Depot: hz, Epoch: epochs, NextSeq: 2*epochs + 1}).Have, uint64(2*epochs))
}

// Import beats scan, the last import stays, among scans the first.
func contractData(w *world) {
	phone := func(want scan.Phone) {
		w.Helper()
		got, _ := w.lookup(wb)
		if got.Data == nil || got.Data.Receiver.Phone != want {
			w.Fatalf("data %+v, want the receiver %s", got.Data, want)
		}
	}
	w.merge(batch(hz, 1, with(ev(1, wb, "a", 1), data(0, "11111111111"))))
	phone("11111111111")
	w.merge(batch(sh, 1, with(ev(1, wb, "b", 1), data(1, "22222222222"))))
	phone("11111111111")
	w.imports(wb, data(0, "33333333333"))
	phone("33333333333")
	w.merge(batch(sh, 1, with(ev(2, wb, "c", 1), data(2, "44444444444"))))
	phone("33333333333")
	w.imports(wb, data(0, "55555555555"))
	phone("55555555555")
	got, _ := w.lookup(wb)
	want := data(0, "55555555555")
	if !reflect.DeepEqual(got.Data, &want) || !got.Imported {
		w.Fatalf("data %+v", got.Data)
	}
}

// What gained its data is told once, and a scan's data serves its whole batch.
func contractGained(w *world) {
	m := w.merge(batch(hz, 1, ev(1, wb, "a", 1), with(ev(2, wb, "b", 2), data(0, phoneA)), ev(3, "OTHER99", "c", 1)))
	w.equal("gained", m.Gained, []scan.WaybillID{wb})
	if !m.Answers[0].HasData || !m.Answers[1].HasData || m.Answers[2].HasData {
		w.Fatalf("answers %+v", m.Answers)
	}
	w.equal("gained by import", w.imports("OTHER99", data(0, phoneA)), []scan.WaybillID{"OTHER99"})
	w.equal("gained again", len(w.imports("OTHER99", data(0, phoneB))), 0)
	w.imports("ALONE99", data(0, phoneA))
	if alone, ok := w.lookup("ALONE99"); !ok || len(alone.Nodes) != 0 || alone.Data == nil {
		w.Fatalf("a waybill without nodes: %+v", alone)
	}
	known, err := w.store.Known(w.Context(), hz, []scan.WaybillID{wb, "UNKNOWN9", "OTHER99", "ALONE99"})
	if err != nil || len(known) != 2 || known[0].Waybill != wb || known[1].Data.Receiver.Phone != phoneB {
		w.Fatalf("known %+v, %v", known, err)
	}
	if known, err := w.store.Known(w.Context(), sh, []scan.WaybillID{wb, "OTHER99", "ALONE99"}); err != nil || len(known) != 0 {
		w.Fatalf("a depot sees waybills that it has not scanned: %+v, %v", known, err)
	}
	if known, err := w.store.Known(w.Context(), "", []scan.WaybillID{wb, "ALONE99"}); err != nil || len(known) != 2 {
		w.Fatalf("no depot: %+v, %v", known, err)
	}
}

// More than 30 days later is a new life: what is older than create_time − 24 h
// leaves the path, and cannot make the new one late.
func contractLife(w *world) {
	const day = 24 * 60
	w.imports(wb, data(0, phoneA))
	old := batch(hz, 1, ev(1, wb, "old", 10), ev(2, wb, "older", 5), ev(3, wb, "margin", 30*day))
	w.merge(old)
	w.imports(wb, data(30, phoneA)) // exactly 30 days: the same life
	w.equal("path", w.path(wb), "hz-01/old hz-01/older! hz-01/margin ")
	w.imports(wb, data(61, phoneB)) // begins on day 60
	w.equal("path", w.path(wb), "")
	w.imports(wb, data(60, phoneB)) // put right by a day
	w.want(w.merge(old).Answers, snapshot.Late, snapshot.Late, snapshot.Late)
	w.want(w.asks(hz, 1, old.Events[0]), snapshot.Late)
	w.want(w.merge(batch(sh, 1, ev(1, wb, "stale", 40*day))).Answers, snapshot.Late)
	w.want(w.merge(batch(sh, 1, ev(2, wb, "new", 60*day))).Answers, snapshot.Taken)
	w.equal("path", w.path(wb), "sh-01/new ")
	// A scan may begin a new life too, and its own node is the first of it.
	w.want(w.merge(batch(sh, 1, with(ev(3, wb, "third", 120*day), data(120, phoneA)))).Answers, snapshot.Taken)
	w.equal("path", w.path(wb), "sh-01/third ")
	got, _ := w.lookup(wb)
	w.equal("receiver", got.Data.Receiver.Phone, phoneA)
}

// Bindings are known by phone: learned on one waybill they serve another, the
// newest word counts.
func contractBindings(w *world) {
	w.imports(wb, data(0, phoneA))
	w.imports("OTHER99", data(0, "+86 138-0013-8000"))
	w.imports("THIRD99", data(0, phoneB))
	w.merge(batch(hz, 1, ev(1, wb, "a", 1), ev(2, "OTHER99", "b", 1)))
	binding := func(id string) string {
		w.Helper()
		w.rest()
		known, err := w.store.Known(w.Context(), "", []scan.WaybillID{scan.WaybillID(id)})
		if err != nil || len(known) != 1 {
			w.Fatalf("known %v, %v", known, err)
		}
		switch b := known[0].Binding; {
		case b == nil:
			return "unknown"
		case b.Exist:
			return "bound " + b.At.UTC().Format("15:04")
		default:
			return "unbound " + b.At.UTC().Format("15:04")
		}
	}
	observe := func(id string, exist bool, minutes int) {
		w.Helper()
		w.merge(snapshot.Batch{Depot: hz, Epoch: 1, NextSeq: 1, Bindings: []snapshot.Observation{
			{Waybill: scan.WaybillID(id), Exist: exist, At: start.Add(time.Duration(minutes) * time.Minute)},
		}})
	}
	w.equal("before", binding(wb), "unknown")
	observe(wb, true, 10)
	w.equal("after", binding(wb), "bound 08:10")
	w.equal("the phone's other waybill", binding("OTHER99"), "bound 08:10")
	w.equal("another phone", binding("THIRD99"), "unknown")
	observe("OTHER99", false, 5)
	w.equal("older news", binding(wb), "bound 08:10")
	observe("OTHER99", false, 20)
	w.equal("newer news", binding(wb), "unbound 08:20")
	observe("NEVER99", true, 30) // no phone known: nothing to file
	observe("THIRD99", false, 30)
	w.equal("the word of a depot that has not scanned it", binding("THIRD99"), "unknown")
}

// What did not change for long goes, all else stays.
func contractForget(w *world) {
	w.merge(batch(hz, 1, with(ev(1, "OLD1234", "a", 1), data(0, phoneA)), ev(2, "KEPT123", "b", 1)))
	w.set(w.clock.Add(48 * time.Hour))
	w.merge(batch(hz, 1, ev(3, "KEPT123", "c", 48*60)))
	w.imports("NEW1234", data(0, phoneA))
	w.equal("forgotten", w.forget(24*time.Hour, 1, true), 1)
	w.equal("held", w.held(), "")
	if _, ok := w.lookup("OLD1234"); ok {
		w.Fatal("an old waybill is still there")
	}
	w.equal("kept", w.path("KEPT123"), "hz-01/b hz-01/c ")
	if _, ok := w.lookup("NEW1234"); !ok {
		w.Fatal("a new waybill is gone")
	}
	w.equal("have stays", w.merge(snapshot.Batch{Depot: hz, Epoch: 1, NextSeq: 4}).Have, 3)
	// An event of a forgotten waybill is taken again when the depot sends it.
	w.want(w.asks(hz, 1, ev(1, "OLD1234", "a", 1)), snapshot.Unknown)
	w.want(w.merge(batch(hz, 1, ev(1, "OLD1234", "a", 1))).Answers, snapshot.Taken)
	w.equal("back", w.path("OLD1234"), "hz-01/a ")
}

const month = 30 * 24 * time.Hour

// A clock that runs ahead erases nothing, whatever WeChat says or does not say,
// and it is told.
func contractClockAhead(w *world) {
	w.merge(batch(hz, 1, with(ev(1, wb, "a", 1), data(0, phoneA))))
	w.forget(month, 1, true)
	w.set(w.clock.Add(31 * 24 * time.Hour))
	w.wechat = start
	for _, wechat := range []bool{false, true} {
		w.equal("forgotten", w.forget(month, 5, wechat), 0)
		if w.held() == "" {
			w.Fatal("nothing is told")
		}
	}
	if a := w.asks(hz, 1, ev(1, wb, "a", 1)); a[0].Result != snapshot.Taken {
		w.Fatalf("asked: %v", a)
	}
	// WeChat is heard, and knows of no month that passed.
	w.merge(batch(hz, 1, ev(2, "OTHER99", "b", 31*24*60)))
	w.wechat = start.Add(time.Hour)
	w.equal("forgotten", w.forget(month, 5, true), 0)
	w.set(start.Add(2 * time.Hour))
	w.wechat = w.clock
	w.equal("forgotten", w.forget(month, 5, true), 0)
}

// What came while the clock was years behind is not old once it is right.
func contractClockBehind(w *world) {
	w.set(start.AddDate(-6, 0, 0))
	w.merge(batch(hz, 1, ev(1, wb, "a", 1)))
	w.imports("OTHER99", data(0, phoneA))
	w.equal("forgotten", w.forget(month, 1, true), 0)
	if w.held() == "" {
		w.Fatal("nothing is told")
	}
	w.set(start.Add(time.Hour))
	w.merge(batch(hz, 1, ev(2, "THIRD99", "b", 60)))
	w.equal("forgotten", w.forget(month, 5, true), 0)
}

// A jump that all clocks make is believed after a day, and then erases a share
// at a time.
func contractTimeJumps(w *world) {
	w.merge(batch(hz, 1, ev(1, wb, "a", 1)))
	const keep = 60 * time.Hour
	w.forget(keep, 1, true)
	const day = 62
	w.set(start.Add(day * 24 * time.Hour))
	w.wechat = w.clock
	w.merge(batch(hz, 1, ev(2, "OTHER99", "b", day*24*60)))
	w.equal("forgotten at once", w.forget(keep, 70, true), 0)
	if w.held() == "" {
		w.Fatal("nothing is told")
	}
	w.set(w.clock.Add(25 * time.Hour))
	w.wechat = w.clock
	w.merge(batch(hz, 1, ev(3, "OTHER99", "c", (day+1)*24*60)))
	w.equal("forgotten after a day", w.forget(keep, 20, true), 0)
	w.equal("held", w.held(), "")
	w.equal("forgotten by and by", w.forget(keep, 45, true), 1)
	w.equal("the young one", w.path("OTHER99"), "hz-01/b hz-01/c ")
}

// One depot of several cannot tell the time.
func contractLyingDepot(w *world) {
	w.merge(batch(hz, 1, ev(1, wb, "a", 1)))
	w.merge(batch(sh, 1, ev(1, wb, "b", 2)))
	w.forget(month, 1, true)
	w.set(start.Add(31 * 24 * time.Hour))
	w.merge(batch(sh, 1, ev(2, "OTHER99", "c", 31*24*60)))
	w.merge(batch(hz, 1, ev(2, wb, "d", 3)))
	w.set(w.clock.Add(25 * time.Hour))
	w.equal("forgotten", w.forget(month, 5, false), 0)
}

// A broken scanner cannot grow one path without bound.
func contractBound(w *world) {
	b := snapshot.Batch{Depot: hz, Epoch: 1, From: 1, NextSeq: snapshot.MaxNodes + 2}
	for i := range snapshot.MaxNodes + 1 {
		b.Events = append(b.Events, ev(uint64(i+1), wb, "e"+string(rune('0'+i%10))+time.Duration(i).String(), i))
	}
	m := w.merge(b)
	last, most := m.Answers[snapshot.MaxNodes], snapshot.NodesOf(0)
	if last.Result != snapshot.Refused || last.Reason == "" || m.Answers[most-1].Result != snapshot.Taken || m.Answers[most].Result != snapshot.Refused {
		w.Fatalf("the last answer is %+v", last)
	}
	w.equal("again", w.merge(b).Answers[snapshot.MaxNodes], last)
	// Nor does it, or another depot, fill the path for all.
	b.Depot = "xx-01"
	w.merge(b)
	w.want(w.merge(batch(sh, 1, ev(1, wb, "honest", 2000))).Answers, snapshot.Taken)
	if wb, _ := w.lookup(wb); len(wb.Nodes) > snapshot.MaxNodes {
		w.Fatalf("the path has %d nodes", len(wb.Nodes))
	}
}

// Everything of a node comes back as it was.
func contractWholeNode(w *world) {
	e := ev(1, wb, "a", 7)
	e.Pickup = scan.Courier{Name: "赵六", Phone: "13600136000"}
	e.Muted = true
	w.merge(batch(hz, 1, e))
	got, ok := w.lookup(wb)
	want := []scan.PathNode{{
		Depot: hz, EventID: "a", ActionTime: e.ActionTime, ActionType: e.ActionType, ActionMsg: e.ActionMsg,
		Pickup: e.Pickup, Delivery: e.Delivery, Muted: true,
	}}
	if !ok || !reflect.DeepEqual(got.Nodes, want) || got.ID != wb || got.Data != nil || !got.Changed.Equal(start) {
		w.Fatalf("got %#v", got)
	}
}

func contractBadCalls(w *world) {
	if _, err := w.store.Merge(w.Context(), batch("No Depot", 1, ev(1, wb, "a", 1))); err == nil {
		w.Error("a depot without a sound id was taken")
	}
	if _, err := w.store.Import(w.Context(), []snapshot.Import{{Data: data(0, phoneA)}}); err == nil {
		w.Error("an import without a number was taken")
	}
	id := w.id()
	if len(id) < 16 {
		w.Errorf("store id %q", id)
	}
	w.reopen()
	w.equal("id after a restart", w.id(), id)
}

// While a store can be trusted its health is good and nobody waits in vain.
func contractHealth(w *world) {
	if err := w.store.Health(w.Context()); err != nil {
		w.Errorf("health: %v", err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	if err := w.store.Wait(ctx); err != nil {
		w.Errorf("wait: %v", err)
	}
	w.imports(wb, data(0, phoneA))
	if s, err := w.store.Stats(w.Context()); err != nil || len(s.Damage) > 0 {
		w.Errorf("stats: %+v, %v", s, err)
	}
}
