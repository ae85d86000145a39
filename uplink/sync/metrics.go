package sync

import (
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/uplink/syncapi"
)

// buckets of times in seconds, up to the longest call.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25}

// meters are the metrics of the relay.
type meters struct {
	calls map[string]*metrics.Counter // by result
	took  *metrics.PrometheusHistogram
}

func newMeters(set *metrics.Set, lag func() time.Duration) *meters {
	m := &meters{calls: make(map[string]*metrics.Counter), took: set.GetOrCreatePrometheusHistogramExt("scanrelay_sync_seconds", buckets)}
	for _, result := range []string{"ok", "refused", "unauthorized", "failed"} {
		m.calls[result] = set.GetOrCreateCounter(`scanrelay_sync_requests_total{result="` + result + `"}`)
	}
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
