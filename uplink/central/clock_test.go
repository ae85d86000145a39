package central_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// TestWrongClock: a centre whose clock is wrong neither refuses events for that,
// which would make dead letters of them, nor imports, nor WeChat's calls, nor tells
// depots its time, once it has heard WeChat's; and until then what seems to lie
// ahead is kept at the depot.
func TestWrongClock(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"two days behind": -48 * time.Hour, "a month ahead": 31 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			var heard atomic.Bool
			b := centraltest.New(t, func(o *central.Options) {
				o.Now = func() time.Time { return time.Now().Add(wrong) }
				o.Config.Callback.MaxSkew = 10 * time.Minute
				o.WeChatTime = func() time.Time {
					if heard.Load() {
						return time.Now()
					}
					return time.Time{}
				}
			})
			now := time.Now().Unix()
			event := func(seq uint64, at int64) syncapi.Request {
				return syncapi.Request{Events: []syncapi.Event{centraltest.Event(seq, centraltest.Parcel, at)}}
			}
			if wrong < 0 {
				if _, err := b.TrySync(centraltest.TokenHZ, event(1, now)); centraltest.Status(err) != 503 {
					t.Errorf("before WeChat was heard: %v", err)
				}
			}
			heard.Store(true)
			b.Import(centraltest.Parcel)
			resp := b.Sync(centraltest.TokenHZ, event(1, now))
			wantResults(t, resp, syncapi.Taken)
			if off := resp.Time - now; off < 0 || off > 60 {
				t.Errorf("the depot is told a time %d s off", off)
			}
			at := fmt.Sprint(time.Now().Unix())
			url := "/wechat/callback?echostr=hello&nonce=1&timestamp=" + at + "&signature=" + callback.Sign("cb-token", at, "1")
			if code, out := b.Call("GET", url, ""); code != 200 || out != "hello" {
				t.Errorf("WeChat is answered %d %s", code, out)
			}
			b.Sync(centraltest.TokenSH, event(1, now+3600)) // ahead by the right time
			wantResults(t, b.Sync(centraltest.TokenHZ, event(2, now)), syncapi.Taken)
		})
	}
}

// TestOutlierHoldsNobody: a centre that never hears WeChat keeps a depot waiting for
// one event that lies days ahead only until the depot has a later one that does not.
func TestOutlierHoldsNobody(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) { o.WeChatTime = func() time.Time { return time.Time{} } })
	now := time.Now().Unix()
	event := func(seq uint64, ahead time.Duration) syncapi.Event {
		return centraltest.Event(seq, centraltest.Parcel, now+int64(ahead/time.Second))
	}
	far := []syncapi.Event{event(2, 48*time.Hour), event(3, 365*24*time.Hour)}
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{Events: append([]syncapi.Event{event(1, 0)}, far...)}), syncapi.NoWaybillData)
	for _, also := range [][]syncapi.Event{nil, {event(4, -100*24*time.Hour)}, {event(4, time.Hour)}} {
		if _, err := b.TrySync(centraltest.TokenHZ, syncapi.Request{Events: append(far, also...)}); centraltest.Status(err) != 503 {
			t.Errorf("with %d later events: %v", len(also), err)
		}
	}
	resp := b.Sync(centraltest.TokenHZ, syncapi.Request{Events: append(far, event(4, -time.Minute))})
	wantResults(t, resp, syncapi.Refused, syncapi.Refused, syncapi.Late)
	wantResults(t, b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{event(5, 0)}}), syncapi.NoWaybillData)
}
