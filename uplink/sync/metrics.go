package sync

import (
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/store/event"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
)

// meters are the metrics of the relay.
type meters struct {
	calls       map[string]*metrics.Counter // by result
	corrections *metrics.Counter            // of the numbering
	took        *metrics.PrometheusHistogram
	taken       *metrics.PrometheusHistogram // scan to sync
}

func newMeters(set *metrics.Set, lag func() time.Duration) *meters {
	m := &meters{calls: make(map[string]*metrics.Counter), took: set.GetOrCreatePrometheusHistogramExt("scanrelay_sync_seconds", shared.Buckets)}
	m.corrections = set.GetOrCreateCounter("scanrelay_sync_corrections_total")
	m.taken = set.GetOrCreatePrometheusHistogramExt("scanrelay_scan_to_sync_seconds", shared.WaitBuckets)
	for _, result := range []string{"ok", "refused", "unauthorized", "failed"} {
		m.calls[result] = set.GetOrCreateCounter(`scanrelay_sync_requests_total{result="` + result + `"}`)
	}
	set.UnregisterMetric("scanrelay_sync_lag_seconds") // of a relay before
	set.GetOrCreateGauge("scanrelay_sync_lag_seconds", func() float64 { return lag().Seconds() })
	return m
}

// count counts one call of the centre.
func (m *meters) count(e *syncapi.Error, took time.Duration) {
	result := "failed"
	switch {
	case e == nil:
		result = "ok"
	case e.Refused():
		result = "refused"
	case e.Unauthorized():
		result = "unauthorized"
	}
	m.took.Update(took.Seconds())
	m.calls[result].Inc()
}

// synced notes how long events waited for the centre. What is sent again after the
// centre lost it, and had ended, says nothing of that.
func (m *meters) synced(recs []event.Record, now time.Time) {
	for _, r := range recs {
		if !r.Ended {
			m.taken.Update(now.Sub(r.Event.ReceivedAt).Seconds())
		}
	}
}
