package central_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
)

// TestClockRunsAhead starts a centre on a machine whose clock is 31 days ahead,
// and lets it run for three of them: no waybill is forgotten, and metrics tell.
func TestClockRunsAhead(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		run := func(now func() time.Time, wechat func() time.Time, work func(store *bolt.Store)) string {
			store, err := bolt.Open(dir, bolt.Options{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			set := metrics.NewSet()
			c, err := central.New(central.Options{
				Config: centraltest.Config(), Snapshot: store, WeChat: account.Always("t"), Now: now, WeChatTime: wechat, Metrics: set,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			work(store)
			var out strings.Builder
			set.WritePrometheus(&out)
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			return out.String()
		}
		run(time.Now, time.Now, func(store *bolt.Store) {
			e := snapshot.Event{Seq: 1, Event: scan.Event{EventID: "e", Waybill: centraltest.Parcel, ActionTime: time.Now().Unix(), ActionType: 200001}}
			if _, err := store.Merge(t.Context(), snapshot.Batch{Depot: "hz-01", Epoch: 1, From: 1, NextSeq: 2, Events: []snapshot.Event{e}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		})
		ahead := func() time.Time { return time.Now().Add(31 * 24 * time.Hour) }
		for name, wechat := range map[string]func() time.Time{"unheard": nil, "heard": time.Now} {
			out := run(ahead, wechat, func(store *bolt.Store) {
				time.Sleep(3 * 24 * time.Hour)
				if _, ok, err := store.Lookup(t.Context(), centraltest.Parcel); err != nil || !ok {
					t.Errorf("WeChat %s: the waybill is gone (%v)", name, err)
				}
			})
			if !strings.Contains(out, "scanrelay_central_forgetting_held 1\n") {
				t.Errorf("WeChat %s: metrics do not tell:\n%s", name, out)
			}
		}
	})
}
