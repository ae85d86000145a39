package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"scanrelay/store/boltpage"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// What the centre is sent again is found without reading how it ended: for each
// batch all notes would be read. So it is sent though none can be read.
func TestRewindReadsNoNotes(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	appendN(t, o, 2000)
	syncAll(t, o)
	pushAll(t, o)
	path := o.journal.Segments()[0].Path
	roll(t, o)
	notes := storetest.PagesOf(t, path).Kinds["lower notes leaf"]
	if len(notes) < 5 {
		t.Fatalf("%d pages of notes: this tests nothing", len(notes))
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before everything is counted anew
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Error(err)
		}
	})
	for _, page := range notes {
		overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
	}
	if err := o.Rewind(0); err != nil {
		t.Fatal(err)
	}
	records, err := o.Unsynced(500, 1<<20)
	if err != nil || len(records) != 500 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if !r.Ended {
			t.Fatalf("%d has not ended", r.ID.Seq)
		}
	}
}

// The centre lost everything, and most of it is no longer here: what is gone is
// named as a range, in a line, and what is here comes at once.
func TestRewindOverWhatIsGone(t *testing.T) {
	var log bytes.Buffer
	opts := small(newTestClock())
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o := open(t, t.TempDir(), opts)
	for round := range 10 {
		b := batch()
		for i := range 1000 {
			id := fmt.Sprint("e", round, "-", i)
			b.Events = append(b.Events, newEvent("W"+id, id, 1795000000))
		}
		mustAppend(t, o, b.Events...)
		syncAll(t, o)
		if round == 3 {
			settle(t, o, event.Dead, mustLease(t, o, 1)...) // this one is carried
		}
		pushAll(t, o)
		roll(t, o)
		if err := o.dropOldest(true); err != nil {
			t.Fatal(err)
		}
	}
	appendN(t, o, 5)
	log.Reset()
	if err := o.Rewind(0); err != nil {
		t.Fatal(err)
	}
	for _, max := range []int{1, 500} {
		records, err := o.Unsynced(max, 1<<20)
		if err != nil || len(records) != min(max, 6) || records[0].State != event.Dead {
			t.Errorf("%d records, %v", len(records), err)
		}
	}
	if !bytes.Contains(log.Bytes(), []byte("1-10000")) || log.Len() > 500 {
		t.Errorf("%d bytes were logged: %.300s", log.Len(), log.String())
	}
}
