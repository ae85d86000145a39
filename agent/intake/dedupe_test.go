package intake

import (
	"errors"
	"fmt"
	"strings"
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
		Marks: scan.MarkDerivedID,
	}
	if !sent {
		e.Marks |= scan.MarkClock
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
	b := j.Taken()[len(j.Taken())-1].Batch
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
		{readAt("A", "d", noon.Add(4*time.Second), false), "t", 0}, // counted from the last
		{readAt("A", "d", noon.Add(6*time.Second+1), false), "t", 1},
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

// What a PLC holds before a reader is one scan for as long as it is repeated, and
// the memory of it survives what else comes; ids of the device's own are believed.
func TestDedupeOfAHeldValue(t *testing.T) {
	d, j := newDedupe(3*time.Second), &intaketest.Manual{}
	stored := 0
	for i := range 60000 { // twelve hours
		at := noon.Add(time.Duration(i) * 700 * time.Millisecond)
		got, _ := try(t, d, j, "t", readAt("A", "plc", at, true))
		stored += got
		j.Commit(1, nil)
		if i%100 == 0 {
			try(t, d, j, "t", readAt(fmt.Sprint(i), "other", at, false))
			j.Commit(1, nil)
		}
	}
	if stored != 1 {
		t.Errorf("%d scans of one parcel", stored)
	}
	if len(d.order) > 10 || len(d.seen) > 10 {
		t.Errorf("%d remembered", len(d.order))
	}
	for i := range 2 {
		e := readAt("B", "gun", noon, false)
		e.Marks, e.EventID = e.Marks&^scan.MarkDerivedID, fmt.Sprint(i)
		if got, _ := try(t, d, j, "t", e); got != 1 {
			t.Error("two reads with ids of their own are one")
		}
		j.Commit(1, nil)
	}
}

// With on_change a value is one scan until the device's message holds another or
// none, whatever the window is.
func TestDedupeOnChange(t *testing.T) {
	for _, window := range []time.Duration{0, time.Second} {
		d, j := newDedupe(window), &intaketest.Manual{}
		at := noon
		message := func(want int, codes ...string) {
			t.Helper()
			at = at.Add(time.Hour)
			b := scan.Batch{OnChange: true}
			for _, c := range codes {
				waybill, device, _ := strings.Cut(c, "@")
				b.Events = append(b.Events, readAt(waybill, device, at, true))
			}
			if err := d.submit(j, "t", b, func(scan.Stored, error) {}); err != nil {
				t.Fatal(err)
			}
			if got := j.Taken()[len(j.Taken())-1].Batch; len(got.Events) != want || len(got.Events)+got.Repeated != len(codes) {
				t.Errorf("window %v, %v: %d stored, want %d", window, codes, len(got.Events), want)
			}
			j.Commit(1, nil)
		}
		message(1, "A@x")
		message(0, "A@x")
		message(1, "B@y") // another device of the topic
		message(0, "A@x")
		message(1, "A@x", "C@x")
		message(1, "C@x", "D@x")
		message(1, "A@x")
		message(0, "A@x")
		message(0) // nothing is before the reader
		message(1, "A@x")
		message(1, "B@y")
		try(t, d, j, "u", readAt("A", "z", at, true))
		j.Commit(1, nil)
		message(0, "A@x", "B@y")
		if len(d.held) != 1 || len(d.held["t"]) != 2 {
			t.Errorf("held %v", d.held)
		}
		j.Refuse = true
		if err := d.submit(j, "t", scan.Batch{OnChange: true, Events: []scan.Event{readAt("E", "x", at, true)}}, nil); err == nil {
			t.Fatal("taken")
		}
		j.Refuse = false
		message(0, "A@x")
		message(1, "E@x")
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
	for i := range maxFirstReads + 100 {
		b := scan.Batch{OnChange: true, Events: []scan.Event{readAt(fmt.Sprint(i), fmt.Sprint(i), noon, true)}}
		if err := d.submit(j, fmt.Sprint(i%7), b, func(scan.Stored, error) {}); err != nil {
			t.Fatal(err)
		}
		j.Commit(1, nil)
	}
	held := 0
	for _, devices := range d.held {
		held += len(devices)
	}
	if held > maxFirstReads || len(d.order) > maxFirstReads {
		t.Errorf("%d held, %d in order", held, len(d.order))
	}
	for range 2 * maxFirstReads / maxAgain {
		try(t, d, j, "t", readAt("late", "d", noon.Add(time.Hour), false))
		j.Commit(1, nil)
	}
	for _, devices := range d.held {
		for _, reads := range devices {
			d.letGo(reads...)
		}
	}
	try(t, d, j, "t", readAt("late", "d", noon.Add(3*time.Hour), false))
	if len(d.seen) != 1 {
		t.Errorf("%d remembered after an hour", len(d.seen))
	}
}
