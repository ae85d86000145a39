package central_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
)

// TestStrangersWaybills: a depot gets the data of waybills that it has scanned, and
// of no other, whatever it asks for.
func TestStrangersWaybills(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Import(centraltest.Parcel)
	now := time.Now().Unix()
	e := centraltest.Event(1, centraltest.Parcel, now)
	b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{e}})
	ask := syncapi.Ask{Epoch: centraltest.EpochA, Seq: 1, EventID: e.EventID, WaybillID: centraltest.Parcel}
	refused := centraltest.Event(1, centraltest.Parcel, 0)
	for what, r := range map[string]syncapi.Request{
		"asks":             {NextSeq: 2, Ask: []syncapi.Ask{ask}},
		"declares":         {NextSeq: 2, Waiting: []scan.WaybillID{centraltest.Parcel}},
		"sends an unsound": {Events: []syncapi.Event{refused}},
	} {
		if resp := b.Sync(centraltest.TokenSH, r); len(resp.Waybills) != 0 {
			t.Errorf("a depot that %s is told of %+v", what, resp.Waybills)
		}
	}
	if resp := b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Ask: []syncapi.Ask{ask}}); len(resp.Waybills) != 1 {
		t.Errorf("the depot that scanned it is told %+v", resp.Waybills)
	}
}

// TestStrangersBindings: what a depot says of a waybill that it has not scanned is
// not believed.
func TestStrangersBindings(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Import(centraltest.Parcel)
	b.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 1, Bindings: []syncapi.Binding{{WaybillID: centraltest.Parcel, Exist: false}}})
	resp := b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, time.Now().Unix())}})
	if len(resp.Waybills) != 1 || resp.Waybills[0].Binding != nil {
		t.Errorf("told %+v", resp.Waybills)
	}
}

// TestTimesAhead: a node that is dated ahead makes no other late.
func TestTimesAhead(t *testing.T) {
	b := centraltest.New(t, nil)
	b.Import(centraltest.Parcel)
	now := time.Now()
	for seq, ahead := range []time.Duration{6 * time.Minute, time.Hour, 23 * time.Hour} {
		b.Sync(centraltest.TokenSH, syncapi.Request{Events: []syncapi.Event{centraltest.Event(uint64(seq+1), centraltest.Parcel, now.Add(ahead).Unix())}})
	}
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, now.Unix())}}), syncapi.Taken)
	ask := syncapi.Ask{Epoch: centraltest.EpochA, Seq: 1, EventID: centraltest.Event(1, centraltest.Parcel, 0).EventID, WaybillID: centraltest.Parcel}
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Ask: []syncapi.Ask{ask}}), syncapi.Taken)
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(2, centraltest.Parcel, now.Add(-time.Second).Unix())}}), syncapi.Late)
}

// TestOnePathForAll: no depot fills a path so that another's node is refused.
func TestOnePathForAll(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	var events []syncapi.Event
	for i := range snapshot.MaxNodes + 1 {
		e := centraltest.Event(uint64(i+1), centraltest.Parcel, now-3600)
		e.EventID = fmt.Sprint("e", i)
		events = append(events, e)
	}
	b.Sync(centraltest.TokenSH, syncapi.Request{Events: events})
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, now)}}), syncapi.NoWaybillData)
}

// TestWildNumbers: a depot's numbers spoil neither the fleet's count of gaps nor
// its log.
func TestWildNumbers(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	if _, err := b.TrySync(centraltest.TokenSH, syncapi.Request{From: 1, Events: []syncapi.Event{centraltest.Event(math.MaxUint64-1, "W00001", now)}}); centraltest.Status(err) != 400 {
		t.Errorf("a number that nobody has: %v", err)
	}
	b.Sync(centraltest.TokenSH, syncapi.Request{From: 1, Events: []syncapi.Event{centraltest.Event(1<<53-1, "W00001", now)}})
	if got := b.Metric("scanrelay_central_gap_numbers_total"); got != "1000000" {
		t.Errorf("gaps: %s", got)
	}
}

// TestManyEmptyElements: lists are counted before they are decoded, and a depot has
// but a few syncs under way.
func TestManyEmptyElements(t *testing.T) {
	b := centraltest.New(t, nil)
	for _, list := range []string{"events", "ask", "waiting", "bindings"} {
		element := map[string]string{"waiting": `""`}[list]
		if element == "" {
			element = "{}"
		}
		body := `{"v":1,"epoch":"` + centraltest.EpochA + `","` + list + `":[` + strings.Repeat(element+",", 300_000) + element + `]}`
		allocated := testing.AllocsPerRun(1, func() { // one a decoded element at least
			code, out := b.Call("POST", "/v1/sync", centraltest.Zipped(body), "Authorization", "Bearer "+centraltest.TokenHZ, "Content-Encoding", "gzip")
			if code != 413 {
				t.Errorf("%s: %d %s", list, code, out)
			}
		})
		if allocated > 10_000 {
			t.Errorf("%s: %v allocations", list, allocated)
		}
	}
}

// cannotMerge is a store that takes nothing.
type cannotMerge struct{ snapshot.Store }

func (cannotMerge) Merge(context.Context, snapshot.Batch) (snapshot.Merged, error) {
	return snapshot.Merged{}, errors.New("no space left on device")
}

// TestLinesOfDepots: however often depots call, neither what one says of its numbers
// nor a store that takes nothing fills the log.
func TestLinesOfDepots(t *testing.T) {
	const calls = 200
	for name, o := range map[string]struct {
		line  string
		burst int
		every time.Duration // another line
		full  bool
	}{
		"ahead": {"depot is ahead", 60, time.Second, false},
		"full":  {"sync a depot", 1, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log locked
			b := centraltest.New(t, func(opt *central.Options) {
				opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
				if o.full {
					opt.Snapshot = cannotMerge{opt.Snapshot}
				}
			})
			began := time.Now()
			for range calls {
				_, err := b.TrySync(centraltest.TokenSH, syncapi.Request{From: 50, Events: []syncapi.Event{centraltest.Event(50, "W00001", time.Now().Unix())}})
				if o.full != (centraltest.Status(err) == 503) {
					t.Fatal(err)
				}
			}
			most := o.burst + 1 + int(time.Since(began)/o.every)
			if n := strings.Count(log.String(), o.line); n == 0 || n > most {
				t.Errorf("%d lines, %d are due", n, most)
			}
		})
	}
}
