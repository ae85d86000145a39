package sparkplug

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func sparkplugTopic(t *testing.T, topic string) Topic {
	t.Helper()
	st, ok := ParseTopic(topic)
	if !ok {
		t.Fatalf("%s is no topic", topic)
	}
	return st
}

// newBirths is what remembers what Save handed out.
func newBirths(t *testing.T, saved any) *Births {
	t.Helper()
	var births map[string]Birth
	if saved != nil {
		if err := json.Unmarshal(saved.(json.RawMessage), &births); err != nil {
			t.Fatal(err)
		}
	}
	return NewBirths(births)
}

func TestBirthsOverARestart(t *testing.T) {
	device := sparkplugTopic(t, "spBv1.0/g/DBIRTH/n/d")
	b := newBirths(t, nil)
	var saved any
	full := errors.New("full")
	keep := func(v any) error { saved = v; return nil }
	if err := b.Save(keep); saved != nil || err != nil {
		t.Errorf("nothing to save is %s, %v", saved, err)
	}
	b.SetBirth(device, Birth{Aliases: map[uint64]BirthMetric{7: {"Scan/Code", 12}}})
	if err := b.Save(func(any) error { return full }); !errors.Is(err, full) {
		t.Errorf("a save that failed is %v", err)
	}
	if err := b.Save(keep); err != nil || saved == nil {
		t.Fatalf("what was not saved is forgotten: %v", err)
	}
	b.Read(device, mustBirth(t, b, device), true)
	if nodes := b.Ask(time.Now()); nodes != nil {
		t.Errorf("asked %v though the birth was heard", nodes)
	}
	b = newBirths(t, saved)
	birth := mustBirth(t, b, device)
	if birth.Aliases[7] != (BirthMetric{"Scan/Code", 12}) {
		t.Errorf("birth %+v", birth)
	}
	// It serves, and a new one is asked for: there may have been another.
	b.Read(device, birth, true)
	if nodes := b.Ask(time.Now()); !slices.Equal(nodes, []string{"g/n"}) {
		t.Errorf("asked %v", nodes)
	}
}

func mustBirth(t *testing.T, b *Births, st Topic) Birth {
	t.Helper()
	birth, ok := b.Birth(st)
	if !ok {
		t.Fatalf("no birth of %s", st.Source())
	}
	return birth
}

func TestBirthsAskOnceAMinute(t *testing.T) {
	b, data := newBirths(t, nil), sparkplugTopic(t, "spBv1.0/g/DDATA/n/d")
	now := time.Unix(1e9, 0)
	for range 1000 {
		b.Read(data, Birth{}, false)
	}
	<-b.Wanted()
	if got := b.Ask(now); len(got) != 1 {
		t.Errorf("asked %v", got)
	}
	b.Read(data, Birth{}, false)
	if got := b.Ask(now.Add(59 * time.Second)); got != nil {
		t.Errorf("asked %v again at once", got)
	}
	if got := b.Ask(now.Add(61 * time.Second)); len(got) != 1 {
		t.Error("not asked again after a minute")
	}
	b.Read(data, Birth{}, false)
	b.SetBirth(sparkplugTopic(t, "spBv1.0/g/NBIRTH/n"), Birth{})
	if got := b.Ask(now.Add(time.Hour)); got != nil {
		t.Errorf("asked %v though it was born", got)
	}
	if _, asked := b.Counts(); asked != 2 {
		t.Errorf("%d asked", asked)
	}
}

func TestSequenceGaps(t *testing.T) {
	b := newBirths(t, nil)
	for _, step := range []struct {
		topic string
		seq   uint64
		gaps  uint64
	}{
		{"spBv1.0/g/DDATA/n/d", 17, 0}, // the first that was heard
		{"spBv1.0/g/NDATA/n", 18, 0},
		{"spBv1.0/g/DDATA/n/e", 20, 1},
		{"spBv1.0/g/NBIRTH/n", 0, 1}, // begins anew
		{"spBv1.0/g/DBIRTH/n/d", 1, 1},
		{"spBv1.0/g/DDATA/other/d", 200, 1},
		{"spBv1.0/g/DDEATH/n/d", 2, 1},
		{"spBv1.0/g/DDATA/n/d", 255, 2},
		{"spBv1.0/g/DDATA/n/d", 0, 2}, // after 255 comes 0
	} {
		b.Sequence(sparkplugTopic(t, step.topic), step.seq)
		if gaps, _ := b.Counts(); gaps != step.gaps {
			t.Errorf("%s seq %d: %d gaps, want %d", step.topic, step.seq, gaps, step.gaps)
		}
	}
	if nodes := b.Ask(time.Now()); !slices.Equal(nodes, []string{"g/n"}) {
		t.Errorf("asked %v", nodes)
	}
}

func TestBirthsAreBounded(t *testing.T) {
	b := newBirths(t, json.RawMessage(`{"g/n/d":{"aliases":{}}}`))
	node, device := Topic{Group: "g", Node: "n"}, Topic{Group: "g", Node: "n", Device: "d"}
	b.SetBirth(node, Birth{})
	if _, ok := b.Birth(device); ok {
		t.Error("a device's birth outlived its node's new one")
	}
	mustBirth(t, b, node)
	for i := range 2 * maxBirths {
		st := Topic{Group: "g", Node: fmt.Sprint(i)}
		b.SetBirth(st, Birth{})
		b.Sequence(st, 0)
	}
	if len(b.births) > maxBirths || len(b.nodes) > maxBirths {
		t.Errorf("%d births, %d nodes remembered", len(b.births), len(b.nodes))
	}
}

// Large births of nodes that somebody invents take no more memory than is meant for
// births, make the others stay, and have not each of them asked for.
func TestInventedNodesAreBounded(t *testing.T) {
	large := Birth{Aliases: map[uint64]BirthMetric{}}
	for i := range uint64(10_000) {
		large.Aliases[i] = BirthMetric{fmt.Sprint("a metric whose name is long ", i), 12}
	}
	b := newBirths(t, nil)
	own := Topic{Group: "g", Node: "own"}
	b.SetBirth(own, Birth{Bare: []string{"Scan/Code"}})
	for i := range 100 {
		b.SetBirth(Topic{Group: "g", Node: fmt.Sprint(i)}, large)
	}
	mustBirth(t, b, own)
	sum := 0
	for _, birth := range b.births {
		sum += birth.size
	}
	if sum != b.bytes || sum > maxBirthBytes || len(b.births) < 3 {
		t.Errorf("%d births take %d bytes, counted as %d", len(b.births), sum, b.bytes)
	}
	var saved any
	if err := b.Save(func(v any) error { saved = v; return nil }); err != nil {
		t.Fatal(err)
	}
	if again := newBirths(t, saved); again.bytes != b.bytes {
		t.Errorf("over a restart %d bytes become %d", b.bytes, again.bytes)
	}
	now, asked := time.Unix(1e9, 0), 0
	for i := range 3 * maxBirths {
		b.Read(Topic{Group: "g", Node: fmt.Sprint("none-", i)}, Birth{}, false)
		if i%1000 == 0 {
			asked += len(b.Ask(now))
		}
	}
	if asked += len(b.Ask(now)); asked > maxAsked {
		t.Errorf("%d were asked within a minute", asked)
	}
	if got := len(b.Ask(now.Add(askAgain))); got == 0 {
		t.Error("nobody is asked any more")
	}
}

// The command is the one that the specification prescribes.
func TestRebirth(t *testing.T) {
	if got := RebirthTopic("g/n"); got != "spBv1.0/g/NCMD/n" {
		t.Error(got)
	}
	p, err := Parse(Rebirth(time.UnixMilli(1600152165000)), 1<<20)
	if err != nil || p.Timestamp != 1600152165000 || len(p.Metrics) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	m := p.Metrics[0]
	if v := newRoom().value(&m, 0, 0); m.Name != "Node Control/Rebirth" || m.Datatype != 11 || m.Timestamp != p.Timestamp || string(v.Raw()) != "true" {
		t.Errorf("%+v: %s", m, hex.EncodeToString(Rebirth(time.Unix(0, 0))))
	}
}

// A node that is born again and again, with its devices, as it was before is not
// written again; one that has changed is.
func TestUnchangedBirthsAreNotWritten(t *testing.T) {
	var written []any
	save := func(b *Births) {
		t.Helper()
		if err := b.Save(func(v any) error { written = append(written, v); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	node, device := sparkplugTopic(t, "spBv1.0/g/NBIRTH/n"), sparkplugTopic(t, "spBv1.0/g/DBIRTH/n/d")
	flap := func(b *Births, datatype uint32) {
		b.SetBirth(node, Birth{Aliases: map[uint64]BirthMetric{1: {"bdSeq", 8}}})
		b.SetBirth(device, Birth{Aliases: map[uint64]BirthMetric{7: {"code", datatype}}})
		save(b)
	}
	births := newBirths(t, nil)
	for range 5 {
		flap(births, 12)
	}
	if len(written) != 1 {
		t.Fatalf("%d writes of what did not change", len(written))
	}
	again := newBirths(t, written[0])
	if flap(again, 12); len(written) != 1 {
		t.Fatal("what was read at the start was written again")
	}
	if flap(again, 13); len(written) != 2 {
		t.Fatal("a change was not written")
	}
}
