package uplink

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

func TestRecentIsBounded(t *testing.T) {
	r := newRecent[int, int](10)
	for i := range 1000 {
		r.put(i, i)
		if _, ok := r.get(0); !ok {
			t.Fatalf("what is used all the time was dropped after %d", i)
		}
		if r.len() > 20 {
			t.Fatalf("%d entries", r.len())
		}
	}
	for i := 991; i < 1000; i++ {
		if v, ok := r.get(i); !ok || v != i {
			t.Errorf("%d was dropped although it is among the last ten", i)
		}
	}
	r.drop(999)
	if _, ok := r.get(999); ok {
		t.Error("dropped and still there")
	}
}

func TestBindingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBindings(24*time.Hour, time.Hour)
		yes, no := b.key("13800000001"), b.key("13800000002")
		b.learned(yes, "A", true)
		b.learned(no, "B", false)
		time.Sleep(time.Hour - time.Second)
		if exist, ok := b.get(no); !ok || exist {
			t.Error("an unbound phone was forgotten early")
		}
		time.Sleep(time.Second)
		if _, ok := b.get(no); ok {
			t.Error("an unbound phone is remembered past its life")
		}
		if exist, ok := b.get(yes); !ok || !exist {
			t.Error("a bound phone was forgotten early")
		}
		time.Sleep(23 * time.Hour)
		if _, ok := b.get(yes); ok {
			t.Error("a bound phone is remembered past its life")
		}
	})
}

func TestBindingNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBindings(24*time.Hour, time.Hour)
		k := b.key("13800000001")
		b.told("13800000001", true, time.Hour)
		b.learned(k, "A", true) // the centre knows
		if n := len(b.news(10)); n != 0 {
			t.Errorf("%d reports of what the centre told us", n)
		}
		b.learned(k, "A", false)
		news := b.news(10)
		if len(news) != 1 || news["A"].exist {
			t.Errorf("news are %v", news)
		}
		b.unheard(news)
		b.learned(k, "A", true)
		if news = b.news(10); len(news) != 1 || !news["A"].exist {
			t.Errorf("a newer answer was overwritten by an older one: %v", news)
		}
		time.Sleep(13 * time.Hour)
		b.learned(k, "A", true)
		if len(b.news(10)) != 1 {
			t.Error("an answer past half of its life was not renewed")
		}
		b.told("13800000001", false, time.Minute) // older than what we just learned
		if exist, _ := b.get(k); !exist {
			t.Error("the centre's older word replaced WeChat's")
		}
	})
}

func TestPhoneKeysAreKeyed(t *testing.T) {
	a, b := newBindings(1, 1), newBindings(1, 1)
	if a.key("13800000001") == b.key("13800000001") || a.key("13800000001") == a.key("13800000002") {
		t.Error("keys are no keyed hashes")
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := newAnswers()
	for i := range 5 * maxKnown {
		id := scan.WaybillID(fmt.Sprint("W", i))
		a.tell(id, scan.Waybill{CreateTime: 1})
		a.taken(id, uint64(i))
		a.disagreed(uint64(i))
	}
	if a.known.len() > 2*maxKnown || a.doubts.len() > 2*maxDoubts {
		t.Errorf("%d waybills and %d doubts are kept", a.known.len(), a.doubts.len())
	}
	if _, advice := a.about(store.Record{ID: store.ID{Seq: 1}, Event: scan.Event{Waybill: "W1"}}); advice != adviseAsk {
		t.Error("a forgotten answer is not asked again")
	}
}

// Within one waybill each event has an answer of its own age.
func TestAnswersAgeByEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswers()
		rec := func(seq uint64) store.Record {
			return store.Record{ID: store.ID{Seq: seq}, Event: scan.Event{Waybill: "A"}}
		}
		a.tell("A", scan.Waybill{CreateTime: 7})
		a.taken("A", 1)
		time.Sleep(50 * time.Second)
		a.taken("A", 2)
		time.Sleep(15 * time.Second)
		if _, advice := a.about(rec(1)); advice != adviseAsk {
			t.Error("an answer of 65 s is used")
		}
		if w, advice := a.about(rec(2)); advice != advisePush || w.CreateTime != 7 {
			t.Error("an answer of 15 s is not used")
		}
	})
}

func TestTokenOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tok := newTokens()
		offer := func(gen string, seconds int64, retried bool) {
			tok.offer(&syncapi.Token{Value: "v-" + gen, Generation: gen, ExpiresIn: seconds, Retried: retried})
		}
		tok.offer(nil)
		offer("a", 100, false)
		time.Sleep(99 * time.Second)
		if !tok.usable() {
			t.Error("expired early")
		}
		time.Sleep(time.Second)
		if tok.usable() {
			t.Error("used past its end")
		}
		offer("a", 300, false) // the same, longer
		first := tok.get(t.Context())
		if again := tok.refused(first); !again || tok.toReport() != "a" {
			t.Error("the first refusal is not reported")
		}
		offer("a", 300, false) // an answer that crossed the report
		if tok.usable() {
			t.Error("the refused token is used again")
		}
		if again := tok.refused(first); !again {
			t.Error("a straggler's refusal counted as the second")
		}
		offer("b", 300, false)
		second := tok.get(t.Context())
		if tok.toReport() != "" {
			t.Error("reported on although another came")
		}
		if again := tok.refused(second); again {
			t.Error("the second refusal running was not told")
		}
		offer("c", 300, false)
		third := tok.get(t.Context())
		tok.accepted(third)
		if again := tok.refused(third); !again {
			t.Error("after a success a refusal counts as the first again")
		}
	})
}

func TestWaitsOverflowDeclaresAll(t *testing.T) {
	w := newWaits(newMemory(), func(store.Record) time.Time { return time.Time{} }, slog.New(slog.DiscardHandler))
	w.heard("s", "p")
	w.declared(w.declare(10))
	if w.pending() {
		t.Error("nothing waits, and still something is to be declared")
	}
	before := w.declare(10)
	for i := range maxFresh + 1 {
		w.parked(scan.WaybillID(fmt.Sprint("W", i)))
	}
	if len(w.fresh) > maxFresh || !w.all {
		t.Errorf("%d fresh ones, all: %v", len(w.fresh), w.all)
	}
	before.paged = true
	w.declared(before) // belongs to a round that is over
	if !w.all {
		t.Error("a declaration of an earlier round ended this one")
	}
}
