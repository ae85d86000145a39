package uplink

import (
	"strconv"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// buckets of times in seconds, up to the longest call.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25}

// meters are the metrics of both relays. No label carries anything of an event.
type meters struct {
	set    *metrics.Set
	calls  map[string]*callMeters // by api; fixed after newMeters
	unsure *metrics.Counter
	asks   *metrics.Counter
	syncs  map[string]*metrics.Counter // by result
	took   *metrics.PrometheusHistogram
}

type callMeters struct {
	api  string
	set  *metrics.Set
	took *metrics.PrometheusHistogram
	mu   sync.Mutex
	by   map[string]*metrics.Counter // by errcode
}

func newMeters(set *metrics.Set, lag func() float64) *meters {
	m := &meters{
		set: set, calls: make(map[string]*callMeters), syncs: make(map[string]*metrics.Counter),
		unsure: set.GetOrCreateCounter("scanrelay_pushes_unsure_total"),
		asks:   set.GetOrCreateCounter("scanrelay_sync_asked_total"),
		took:   set.GetOrCreatePrometheusHistogramExt("scanrelay_sync_seconds", buckets),
	}
	for _, api := range []string{wechat.APIUserQuery, wechat.APIPathNotify} {
		name := `scanrelay_wechat_request_seconds{api="` + api + `"}`
		m.calls[api] = &callMeters{api: api, set: set, took: set.GetOrCreatePrometheusHistogramExt(name, buckets), by: make(map[string]*metrics.Counter)}
		m.calls[api].counter("0")
	}
	for _, result := range []string{"ok", "refused", "unauthorized", "failed"} {
		m.syncs[result] = set.GetOrCreateCounter(`scanrelay_sync_requests_total{result="` + result + `"}`)
	}
	set.GetOrCreateGauge("scanrelay_sync_lag_seconds", lag)
	return m
}

// retry counts an event that is tried again later.
func (m *meters) retry(c wechat.Class) {
	m.set.GetOrCreateCounter(`scanrelay_push_retries_total{class="` + c.String() + `"}`).Inc()
}

// call counts one call of WeChat's API.
func (m *meters) call(api string, err error, took time.Duration) {
	c := m.calls[api]
	c.took.Update(took.Seconds())
	c.counter(errcodeLabel(err)).Inc()
}

func (c *callMeters) counter(errcode string) *metrics.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.by[errcode]
	if !ok {
		n = c.set.GetOrCreateCounter(`scanrelay_wechat_requests_total{api="` + c.api + `",errcode="` + errcode + `"}`)
		c.by[errcode] = n
	}
	return n
}

// errcodeLabel is the errcode, or what stood in its place: http_503, none.
func errcodeLabel(err error) string {
	if err == nil {
		return "0"
	}
	e := asWeChat(err)
	switch {
	case e.Code != 0:
		return strconv.Itoa(e.Code)
	case e.Status != 0 && e.Status != 200:
		return "http_" + strconv.Itoa(e.Status)
	}
	return "none"
}

// sync counts one call of the centre.
func (m *meters) sync(err *syncapi.Error, took time.Duration) {
	m.took.Update(took.Seconds())
	switch {
	case err == nil:
		m.syncs["ok"].Inc()
	case err.Refused():
		m.syncs["refused"].Inc()
	case err.Unauthorized():
		m.syncs["unauthorized"].Inc()
	default:
		m.syncs["failed"].Inc()
	}
}
