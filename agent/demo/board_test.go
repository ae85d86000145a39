package demo

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/control"
	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/wechat/fake"
)

func newTestBoard() (*board, []*parcel) {
	parcels := makeParcels(20, 1, time.Now().Unix())
	return newBoard(parcels, time.Now), parcels
}

func eventOf(k key) scan.Event {
	return scan.Event{Waybill: scan.WaybillID(k.waybill), ActionType: scan.ActionType(k.action), ActionMsg: scan.Text(k.msg)}
}

func (b *board) counts() [6]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reached
}

// Hooks come from several goroutines and may overtake each other; a scan never
// goes back and is counted once at each stage.
func TestBoardNeverGoesBack(t *testing.T) {
	b, parcels := newTestBoard()
	k := parcels[0].stops[0].key
	b.synced([]store.Record{{Event: eventOf(k)}})
	b.scanned(k)
	b.stored(scan.Batch{Events: []scan.Event{eventOf(k)}}, scan.Stored{})
	if got := b.counts(); got != [6]int{1, 1, 1} {
		t.Errorf("%v", got)
	}
	b.outcome(store.Record{Event: eventOf(k), State: store.Pushed})
	b.lookedUp(fake.Lookup{WaybillID: k.waybill, Pushed: fake.Node{ActionType: k.action, ActionMsg: k.msg}})
	if got := b.counts(); got != [6]int{1, 1, 1, 1, 1} {
		t.Errorf("pushed: %v", got)
	}
	other := parcels[0].stops[1].key
	b.outcome(store.Record{Event: eventOf(other), State: store.NotBound})
	if got := b.counts(); got != [6]int{2, 2, 2, 1, 1, 1} {
		t.Errorf("not bound: %v", got)
	}
	b.scanned(key{"nobody's", 1, ""}) // is not on the board
	f := b.full(time.Now(), linkView{Up: true})
	if f.Outcome != (outcomeCount{Pushed: 1, NotBound: 1}) || len(f.Rows) != 1 || len(f.Moves) != 0 || f.Parcels.Begun != 1 {
		t.Errorf("%+v", f)
	}
}

func TestCardsAreMasked(t *testing.T) {
	b, parcels := newTestBoard()
	b.message(fake.Push{WaybillID: parcels[0].waybill, Receiver: fake.Party{Name: "李四", Phone: "13800131234"}, Node: fake.Node{ActionMsg: "派件中,电话13800135678"}})
	f := string(mustJSON(b.full(time.Now(), linkView{})))
	if strings.Contains(f, "1380013") || strings.Contains(f, "李四") || !strings.Contains(f, "138******34") {
		t.Error(f)
	}
}

// A reader that does not read is let go; the others go on.
func TestSlowReaderIsLetGo(t *testing.T) {
	b, parcels := newTestBoard()
	h := newHub(b, newCable(), func() control.Status { return control.Status{} })
	slow, quick := h.join(), h.join()
	for i := range 100 {
		b.scanned(parcels[i%20].stops[i/20%5].key)
		h.beat(1)
		for len(quick) > 0 {
			<-quick
		}
	}
	h.goodbye()
	n := 0
	for range slow {
		n++
	}
	if n == 0 || n > cap(slow) {
		t.Errorf("the slow reader got %d frames", n)
	}
	last := <-quick
	var f frame
	if err := json.Unmarshal(last, &f); err != nil || !f.Bye || !f.Full {
		t.Errorf("the last frame is %.80s, %v", last, err)
	}
	if _, open := <-quick; open {
		t.Error("the stream goes on after goodbye")
	}
}

func TestCable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newCable()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go g.run(ctx)
		reaches := func() (ok bool) {
			defer func() { ok = recover() == nil }()
			g.wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			return
		}
		if !reaches() {
			t.Error("shut from the start")
		}
		g.Cut(10 * time.Second)
		synctest.Wait()
		if up, back := g.state(); up || reaches() || time.Until(back) != 10*time.Second {
			t.Error("open after a cut")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !reaches() {
			t.Error("still shut after the cut")
		}
	})
}

// Another site's page must not be able to cut the uplink.
func TestOnlyOwnPageCuts(t *testing.T) {
	b, _ := newTestBoard()
	g := newCable()
	h := newHub(b, g, func() control.Status { return control.Status{} })
	page, err := h.handler()
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]int{"": 403, "http://evil.example": 403, "http://demo:1": 204} {
		r := httptest.NewRequest("POST", "http://demo:1/cut", nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		for len(g.cuts) > 0 {
			<-g.cuts
		}
		page.ServeHTTP(w, r)
		if w.Code != want || (len(g.cuts) == 1) != (want == 204) {
			t.Errorf("origin %q: %d, %d cuts", origin, w.Code, len(g.cuts))
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("Content-Security-Policy %q", csp)
		}
	}
}

// A stop before the duration is over is a clean end.
func TestStop(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	ln := listen(t)
	if err := Run(ctx, Options{Duration: time.Minute, Parcels: 50, Listen: ln, Out: io.Discard}); err != nil {
		t.Error(err)
	}
	if again, err := ln.Accept(); err == nil {
		again.Close()
		t.Error("the page's listener is still open")
	}
}
