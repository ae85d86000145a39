package shared

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
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
		b := NewBindings(24*time.Hour, time.Hour)
		yes, no := b.Key("13800000001"), b.Key("13800000002")
		b.Learned(yes, "A", true)
		b.Learned(no, "B", false)
		time.Sleep(time.Hour - time.Second)
		if exist, ok := b.Get(no); !ok || exist {
			t.Error("an unbound phone was forgotten early")
		}
		time.Sleep(time.Second)
		if _, ok := b.Get(no); ok {
			t.Error("an unbound phone is remembered past its life")
		}
		if exist, ok := b.Get(yes); !ok || !exist {
			t.Error("a bound phone was forgotten early")
		}
		time.Sleep(23 * time.Hour)
		if _, ok := b.Get(yes); ok {
			t.Error("a bound phone is remembered past its life")
		}
	})
}

func TestBindingNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBindings(24*time.Hour, time.Hour)
		k := b.Key("13800000001")
		b.Told("13800000001", true, time.Hour)
		b.Learned(k, "A", true) // the centre knows
		if n := len(b.News(10)); n != 0 {
			t.Errorf("%d reports of what the centre told us", n)
		}
		b.Learned(k, "A", false)
		news := b.News(10)
		if len(news) != 1 || news["A"].Exist {
			t.Errorf("news are %v", news)
		}
		b.Unheard(news)
		b.Learned(k, "A", true)
		if news = b.News(10); len(news) != 1 || !news["A"].Exist {
			t.Errorf("a newer answer was overwritten by an older one: %v", news)
		}
		time.Sleep(13 * time.Hour)
		b.Learned(k, "A", true)
		if len(b.News(10)) != 1 {
			t.Error("an answer past half of its life was not renewed")
		}
		b.Told("13800000001", false, time.Minute) // older than what we just learned
		if exist, _ := b.Get(k); !exist {
			t.Error("the centre's older word replaced WeChat's")
		}
	})
}

func TestPhoneKeysAreKeyed(t *testing.T) {
	a, b := NewBindings(1, 1), NewBindings(1, 1)
	if a.Key("13800000001") == b.Key("13800000001") || a.Key("13800000001") == a.Key("13800000002") {
		t.Error("keys are no keyed hashes")
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := NewAnswers()
	for i := range 5 * maxKnown {
		id := scan.WaybillID(fmt.Sprint("W", i))
		a.Tell(id, scan.Waybill{CreateTime: 1})
		a.Taken(id, uint64(i))
		a.Mismatched(id, uint64(i))
	}
	if a.known.len() > 2*maxKnown || a.taken.len() > 2*maxTaken || a.mismatched.len() > 2*maxMismatched {
		t.Errorf("%d waybills, %d events and %d counts of mismatches are kept", a.known.len(), a.taken.len(), a.mismatched.len())
	}
	if _, advice := a.About(event.Record{ID: event.ID{Seq: 1}, Event: scan.Event{Waybill: "W1"}}); advice != Ask {
		t.Error("a forgotten answer is not asked again")
	}
}

// Within one waybill each event has an answer of its own age.
func TestAnswersAgeByEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAnswers()
		rec := func(seq uint64) event.Record {
			return event.Record{ID: event.ID{Seq: seq}, Event: scan.Event{Waybill: "A"}}
		}
		a.Tell("A", scan.Waybill{CreateTime: 7})
		a.Taken("A", 1)
		time.Sleep(50 * time.Second)
		a.Taken("A", 2)
		time.Sleep(15 * time.Second)
		if _, advice := a.About(rec(1)); advice != Ask {
			t.Error("an answer of 65 s is used")
		}
		if w, advice := a.About(rec(2)); advice != Push || w.CreateTime != 7 {
			t.Error("an answer of 15 s is not used")
		}
	})
}
