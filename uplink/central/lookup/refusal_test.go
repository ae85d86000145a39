package lookup

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/caller"
	"scanrelay/wechat/callback"
)

// slowSnapshot has one waybill, and takes long to read it.
type slowSnapshot struct {
	reading time.Duration
}

func (s slowSnapshot) Lookup(_ context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	if id != "YT1" {
		return snapshot.Waybill{}, false, nil
	}
	time.Sleep(s.reading)
	return snapshot.Waybill{ID: id, Data: &scan.Waybill{CreateTime: 1, Receiver: scan.Party{Phone: "13800138000"}}}, true, nil
}

// The time of a refusal must not tell whether there is such a waybill, nor how
// long its path is.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := map[string]time.Duration{}
		for _, reading := range []time.Duration{0, time.Millisecond} {
			ask := Reverse(slowSnapshot{reading: reading})
			for _, id := range []string{"YT1", "YT2"} {
				began := time.Now()
				a := ask(t.Context(), callback.Query{WaybillID: id, ReceiverPhone: "13900139000"})
				if a.Code != callback.CodeNoWaybill && a.Code != callback.CodeWrongPhone {
					t.Fatalf("a wrong phone got code %d", a.Code)
				}
				took[fmt.Sprint("lookup ", id, reading)] = time.Since(began)
			}
		}
		for what, d := range took {
			if d != refusalTime {
				t.Errorf("%s took %v, want %v", what, d, refusalTime)
			}
		}
		ask := Reverse(slowSnapshot{reading: time.Millisecond})
		began := time.Now()
		if a := ask(t.Context(), callback.Query{WaybillID: "YT1", ReceiverPhone: "13800138000"}); a.Code != callback.CodeOK || time.Since(began) != time.Millisecond {
			t.Errorf("the right phone got code %d after %v", a.Code, time.Since(began))
		}
	})
}

func TestJSONPRefusalsTakeTheSameTime(t *testing.T) {
	terms := &Terms{PerWaybill: limit.New(1, 10, 10), PerAddress: limit.New(1, 10, 10)}
	l := &Landing{
		From: slowSnapshot{}, Proxies: func() caller.Proxies { return nil }, Terms: func() *Terms { return terms }, Now: time.Now, Metrics: metrics.NewSet(),
	}
	for _, id := range []string{"YT1", "YT2"} {
		began := time.Now()
		w := httptest.NewRecorder()
		l.ServeHTTP(w, httptest.NewRequest("GET", "/jsonp/waybill?callback=f&phone=1234&waybill_id="+id, nil))
		if took := time.Since(began); took < refusalTime {
			t.Errorf("%s was refused after %v, sooner than %v", id, took, refusalTime)
		}
	}
}
