package snapshot

import (
	"testing"
	"time"

	"scanrelay/agent/scan"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(dir, Options{MergeEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Merge(t.Context(), Batch{Depot: "hz-01", Epoch: 1, NextSeq: 2, From: 1, Events: []Event{{Seq: 1, Event: scan.Event{EventID: "e", Waybill: "W12345", ActionTime: 5, ActionType: 200001, ActionMsg: "x"}}}})
	t.Log(m, err)
	for range 20 {
		w, ok, err := b.Lookup(t.Context(), "W12345")
		t.Log(w, ok, err, b.Stats())
		time.Sleep(5 * time.Millisecond)
	}
	t.Log(b.Depots())
	b.Close()
	b, err = Open(dir, Options{})
	t.Log(err, b.Depots(), b.Stats())
	b.Close()
}
