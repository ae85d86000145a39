package shared_test

import (
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/shared"
)

func TestBindingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := shared.NewBindings(24*time.Hour, time.Hour)
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
		b := shared.NewBindings(24*time.Hour, time.Hour)
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
	a, b := shared.NewBindings(1, 1), shared.NewBindings(1, 1)
	if a.Key("13800000001") == b.Key("13800000001") || a.Key("13800000001") == a.Key("13800000002") {
		t.Error("keys are no keyed hashes")
	}
}

// Within one waybill each event has an answer of its own age.
func TestAnswersAgeByEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := shared.NewAnswers()
		rec := func(seq uint64) event.Record {
			return event.Record{ID: event.ID{Seq: seq}, Event: scan.Event{Waybill: "A"}}
		}
		a.Tell("A", scan.Waybill{CreateTime: 7})
		a.Taken("A", 1)
		time.Sleep(50 * time.Second)
		a.Taken("A", 2)
		time.Sleep(15 * time.Second)
		if _, advice := a.About(rec(1)); advice != shared.Ask {
			t.Error("an answer of 65 s is used")
		}
		if w, advice := a.About(rec(2)); advice != shared.Push || w.CreateTime != 7 {
			t.Error("an answer of 15 s is not used")
		}
	})
}
