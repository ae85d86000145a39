package intake

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/scan"
)

// noon is when the first reads come.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// readAt is a scan of a code by a device; with sent the device has a clock.
func readAt(waybill, device string, at time.Time, sent bool) scan.Event {
	e := scan.Event{
		Waybill: scan.WaybillID(waybill), DeviceID: device, ActionType: 200001,
		ActionTime: at.Unix(), ReceivedAt: at, EventID: fmt.Sprint(waybill, device, at.UnixNano()),
	}
	if !sent {
		e.Marks = scan.MarkClock
	}
	return e
}

// try submits one read and tells how many events the outbox got of it.
func try(t *testing.T, d *dedupe, j *intaketest.Manual, topic string, e scan.Event) (got int, result *error) {
	t.Helper()
	result = new(error)
	*result = errors.New("open")
	if err := d.submit(j, topic, scan.Batch{Events: []scan.Event{e}}, func(_ scan.Stored, err error) { *result = err }); err != nil {
		t.Fatal(err)
	}
	b := j.Submitted[len(j.Submitted)-1].Batch
	if len(b.Events)+b.Repeated != 1 {
		t.Fatalf("a read vanished: %+v", b)
	}
	return len(b.Events), result
}

func TestDedupeWindow(t *testing.T) {
	d, j := newDedupe(2*time.Second), &intaketest.Manual{}
	for i, c := range []struct {
		e      scan.Event
		topic  string
		stored int
	}{
		{readAt("A", "d", noon, false), "t", 1},
		{readAt("A", "d", noon.Add(time.Second), false), "t", 0},
		{readAt("A", "d", noon.Add(2*time.Second), false), "u", 0},
		{readAt("A", "e", noon.Add(time.Second), false), "t", 1},
		{readAt("B", "d", noon.Add(time.Second), false), "t", 1},
		{readAt("A", "d", noon.Add(3*time.Second), false), "t", 1}, // counted from the first
		{readAt("C", "", noon, false), "t", 1},
		{readAt("C", "", noon, false), "u", 1}, // without a name the topic is the device
		{readAt("C", "", noon.Add(time.Second), false), "t", 0},
	} {
		if got, _ := try(t, d, j, c.topic, c.e); got != c.stored {
			t.Errorf("read %d: %d stored, want %d", i, got, c.stored)
		}
		j.Commit(1, nil)
	}
}

// What was kept through an outage arrives all at once: the device's time decides.
func TestDedupeByTheDevicesTime(t *testing.T) {
	d, j := newDedupe(2*time.Second), &intaketest.Manual{}
	for i, c := range []struct {
		at     time.Time
		stored int
	}{{noon, 1}, {noon.Add(time.Hour), 1}, {noon.Add(time.Hour + time.Second), 0}, {noon.Add(time.Hour - time.Second), 0}} {
		e := readAt("A", "d", c.at, true)
		e.ReceivedAt = noon
		if got, _ := try(t, d, j, "t", e); got != c.stored {
			t.Errorf("read %d: %d stored, want %d", i, got, c.stored)
		}
		j.Commit(1, nil)
	}
}

// The same event delivered again is the outbox's to recognise; and a repeated
// read is acknowledged only if the one it repeats was committed.
func TestDedupeLosesNothing(t *testing.T) {
	d, j := newDedupe(2*time.Second), &intaketest.Manual{}
	first := readAt("A", "d", noon, false)
	_, firstResult := try(t, d, j, "t", first)
	if got, _ := try(t, d, j, "t", first); got != 1 {
		t.Error("a redelivery was left out")
	}
	got, secondResult := try(t, d, j, "t", readAt("A", "d", noon.Add(time.Second), false))
	if got != 0 {
		t.Fatal("a repeated read was stored")
	}
	disk := errors.New("disk")
	j.Commit(2, disk)
	j.Commit(1, nil)
	if *firstResult != disk || *secondResult == nil {
		t.Errorf("results %v, %v: the second was acknowledged though nothing is stored", *firstResult, *secondResult)
	}
	if got, _ := try(t, d, j, "t", readAt("A", "d", noon.Add(time.Second), false)); got != 1 {
		t.Error("a read that was not committed still hides others")
	}
	j.Refuse = true
	if err := d.submit(j, "t", scan.Batch{Events: []scan.Event{readAt("Z", "d", noon, false)}}, nil); err == nil {
		t.Fatal("taken")
	}
	j.Refuse = false
	if got, _ := try(t, d, j, "t", readAt("Z", "d", noon, false)); got != 1 {
		t.Error("a read that the outbox did not take still hides others")
	}
}

func TestDedupeIsBounded(t *testing.T) {
	d, j := newDedupe(time.Second), &intaketest.Manual{}
	for i := range maxFirstReads + 100 {
		try(t, d, j, "t", readAt(fmt.Sprint(i), "d", noon, false))
		j.Commit(1, nil)
	}
	if len(d.seen) > maxFirstReads || len(d.order) > maxFirstReads {
		t.Errorf("%d remembered", len(d.seen))
	}
	try(t, d, j, "t", readAt("late", "d", noon.Add(time.Hour), false))
	if len(d.seen) != 1 {
		t.Errorf("%d remembered after an hour", len(d.seen))
	}
}
