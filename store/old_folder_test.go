package store_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// oldClock is when the folders of 7b28d06 were left.
var oldClock = time.Date(2026, 11, 13, 21, 2, 20, 0, time.UTC)

// What release 7b28d06 stored is read as it read it, and drains.
func TestFoldersOf7b28d06(t *testing.T) {
	for _, name := range []string{"clean", "unclean"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, filepath.Join("testdata", "7b28d06", name+".tar.gz"), dir)
			want, err := os.ReadFile(filepath.Join("testdata", "7b28d06", name+".jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			before := exportOf(t, dir)
			sameLines(t, before, strings.Split(strings.TrimSpace(string(want)), "\n"))
			if r, err := store.Check(dir); err != nil || !r.Good() {
				t.Errorf("check: %+v, %v", r, err)
			}
			drain(t, dir)
			for file, want := range map[string]bool{"outbox.state": true, "outbox.clean": false, "outbox.clean.old": name == "clean"} {
				if _, err := os.Stat(filepath.Join(dir, file)); (err == nil) != want {
					t.Errorf("%s: %v", file, err)
				}
			}
			sameLines(t, finishedOf(t, exportOf(t, dir)), finishedOf(t, before))
		})
	}
}

// drain opens the folder, stores one event more, and finishes all that pends.
func drain(t *testing.T, dir string) {
	t.Helper()
	ctx, now := t.Context(), oldClock
	o, err := store.Open(dir, store.Options{MaxSize: 8 << 20, MachineID: "the-gateway-of-7b28d06", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	was := o.Counts()
	must(t, o.ResolveClock("boot-2", now.Add(-time.Hour), false))
	_, err = o.Append(ctx, scan.Batch{Events: []scan.Event{{Waybill: "W", EventID: "new", ActionType: scan.ActionTransport, ReceivedAt: now}}})
	must(t, err)
	for records := []store.Record{{}}; len(records) > 0; {
		records, err = o.Unsynced(100, 1<<20)
		must(t, err)
		if len(records) > 0 {
			must(t, o.Synced(records[len(records)-1].ID.Seq, nil, nil))
		}
	}
	waiting, err := o.Waiting(100, 0)
	must(t, err)
	for _, r := range waiting {
		o.WakeEvents(r.ID.Seq)
	}
	now = now.Add(3 * time.Hour) // every wait is over
	for records := []store.Record{{}}; len(records) > 0; {
		records, err = o.Lease(20, time.Minute)
		must(t, err)
		for _, r := range records {
			must(t, o.Settle(ctx, []store.Settlement{{Seq: r.ID.Seq, Lease: r.Lease, Outcome: store.Pushed, Attempts: 1}}))
		}
	}
	pending := was.State[store.Unsynced] + was.State[store.AwaitingWaybill] + was.State[store.ToPush]
	c := o.Counts()
	if c.State[store.Pushed] != was.State[store.Pushed]+pending+1 || c.State[store.Dead] != was.State[store.Dead] || c.Received != was.Received+1 || c.Epoch != was.Epoch {
		t.Errorf("counts were %+v\nand are %+v", was, c)
	}
	must(t, o.Close(context.WithoutCancel(ctx)))
	if r, err := store.Check(dir); err != nil || !r.Good() {
		t.Errorf("check of what was drained: %+v, %v", r, err)
	}
}

// finishedOf leaves the finished records and the quarantine of an export of
// before a drain, and the same ones of one after it.
func finishedOf(t *testing.T, export []string) (lines []string) {
	t.Helper()
	for _, l := range export {
		var r struct {
			Counts              []uint64
			State, Finished, ID string
		}
		must(t, json.Unmarshal([]byte(l), &r))
		if r.Counts == nil && (r.ID == "" || r.Finished != "" && r.Finished < oldClock.Format(time.RFC3339)) {
			lines = append(lines, l)
		}
	}
	return lines
}

func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Fatalf("missing: %s", want[i])
		case i >= len(want):
			t.Fatalf("more than there was: %s", got[i])
		case got[i] != want[i]:
			t.Fatalf("line %d\n got %s\nwant %s", i+1, got[i], want[i])
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exportOf(t *testing.T, dir string) []string {
	t.Helper()
	r, err := store.OpenReadOnly(dir)
	must(t, err)
	defer r.Close()
	return strings.Split(strings.TrimSpace(export(t, r)), "\n")
}

func unpack(t *testing.T, path, dir string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		content, err := io.ReadAll(files)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, h.Name), content, 0o600))
	}
}

// line is a record as a line of an export; what is empty is left out.
func line(r *store.Record) map[string]any {
	e := &r.Event
	m := map[string]any{
		"id": r.ID.String(), "state": r.State.String(), "attempts": r.Attempts, "reason": r.Last.Reason, "errcode": r.Last.ErrCode, "rid": r.Last.RID,
		"retried": stamp(r.RetriedAt), "finished": stamp(r.FinishedAt), "received": stamp(e.ReceivedAt),
		"event_id": e.EventID, "waybill": string(e.Waybill), "type": int(e.ActionType), "time": e.ActionTime,
		"msg": e.ActionMsg.Reveal(), "device": e.DeviceID, "marks": int(e.Marks), "pickup": person(e.Pickup), "delivery": person(e.Delivery),
	}
	if e.Weak != (scan.WeakKey{}) {
		m["weak"] = hex.EncodeToString(e.Weak[:])
	}
	if b := e.Clockless; b != nil {
		m["boot"] = b.Boot + " " + b.Since.String()
	}
	if d := e.Data; d != nil {
		m["data"] = fmt.Sprint(d.CreateTime, " ", party(&d.Sender), " ", party(&d.Receiver))
	}
	maps.DeleteFunc(m, func(_ string, v any) bool { return reflect.ValueOf(v).IsZero() })
	return m
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func person(c scan.Courier) string {
	return strings.TrimSpace(c.Name.Reveal() + " " + c.Phone.Reveal())
}

func party(p *scan.Party) string {
	return strings.Join([]string{
		p.Name.Reveal(), p.Phone.Reveal(), p.Province.Reveal(), p.City.Reveal(), p.Area.Reveal(), p.Street.Reveal(), p.Address.Reveal(), p.ID.Reveal(),
	}, ",")
}

// export writes all that a reader gives, a line for each record, for each entry
// of the quarantine, and for the counts.
func export(t testing.TB, r *store.Reader) string {
	t.Helper()
	var out strings.Builder
	lines := json.NewEncoder(&out)
	err := r.Scan(t.Context(), store.Filter{}, func(rec store.Record) error { return lines.Encode(line(&rec)) })
	if err == nil {
		err = r.Quarantine(t.Context(), func(q store.Quarantined) error {
			return lines.Encode(map[string]any{
				"rejected": q.Seq, "topic": q.Topic, "payload": string(q.Payload), "index": q.Index, "code": q.Code, "reason": q.Reason, "received": stamp(q.ReceivedAt),
			})
		})
	}
	c := r.Counts()
	counts := map[string]any{
		"counts": c.State, "settled": c.Settled, "received": c.Received, "duplicate": c.Duplicate, "ignored": c.Ignored, "rejected": c.Rejected,
		"requeued": c.Requeued, "quarantined": c.Quarantined, "forgotten": c.Forgotten, "oldest": stamp(c.Oldest), "watermark": c.Watermark,
		"next_seq": c.NextSeq, "epoch": c.Epoch, "damaged": c.Damaged,
	}
	if err := errors.Join(err, lines.Encode(counts)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
