package push

import (
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/uplink/policy"
	"scanrelay/uplink/shared"
	"scanrelay/wechat"
)

// meters are the metrics of the relay. No label carries anything of an event.
type meters struct {
	set    *metrics.Set
	took   map[string]*metrics.PrometheusHistogram // by api; fixed after newMeters
	unsure *metrics.Counter
	asks   *metrics.Counter
	pushed *metrics.PrometheusHistogram // scan to push
}

func newMeters(set *metrics.Set) *meters {
	m := &meters{
		set: set, took: make(map[string]*metrics.PrometheusHistogram),
		unsure: set.GetOrCreateCounter("scanrelay_pushes_unsure_total"),
		asks:   set.GetOrCreateCounter("scanrelay_sync_asked_total"),
		pushed: set.GetOrCreatePrometheusHistogramExt("scanrelay_scan_to_push_seconds", shared.WaitBuckets),
	}
	for _, api := range []string{wechat.APIUserQuery, wechat.APIPathNotify} {
		m.took[api] = set.GetOrCreatePrometheusHistogramExt(`scanrelay_wechat_request_seconds{api="`+api+`"}`, shared.Buckets)
		m.calls(api, nil)
	}
	return m
}

// calls counts the calls of an API that ended so.
func (m *meters) calls(api string, err error) *metrics.Counter {
	return m.set.GetOrCreateCounter(`scanrelay_wechat_requests_total{api="` + api + `",errcode="` + policy.Label(err) + `"}`)
}

// call counts one call of WeChat's API.
func (m *meters) call(api string, err error, took time.Duration) {
	m.took[api].Update(took.Seconds())
	m.calls(api, err).Inc()
}

// retry counts an event that is tried again later.
func (m *meters) retry(c wechat.Class) {
	m.set.GetOrCreateCounter(`scanrelay_push_retries_total{class="` + c.String() + `"}`).Inc()
}
