package sync

import (
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
)

// meters are the metrics of the relay.
type meters struct {
	calls map[string]*metrics.Counter // by result
	took  *metrics.PrometheusHistogram
}

func newMeters(set *metrics.Set, lag func() time.Duration) *meters {
	m := &meters{calls: make(map[string]*metrics.Counter), took: set.GetOrCreatePrometheusHistogramExt("scanrelay_sync_seconds", shared.Buckets)}
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
