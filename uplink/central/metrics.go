package central

import (
	"context"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

var (
	syncBuckets   = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	lookupBuckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5}
)

// meters are the centre's metrics. No label carries anything of a waybill.
type meters struct {
	set       *metrics.Set
	syncTook  *metrics.PrometheusHistogram
	lookTook  *metrics.PrometheusHistogram
	gap       *metrics.Counter
	dropped   *metrics.Counter
	badTokens *metrics.Counter
	forgotten *metrics.Counter
	imported  *metrics.Counter
	rejected  *metrics.Counter
}

func newMeters(c *Central) *meters {
	set := c.o.Metrics
	m := &meters{
		set:       set,
		syncTook:  set.GetOrCreatePrometheusHistogramExt("scanrelay_central_sync_seconds", syncBuckets),
		lookTook:  set.GetOrCreatePrometheusHistogramExt("scanrelay_central_lookup_seconds", lookupBuckets),
		gap:       set.GetOrCreateCounter("scanrelay_central_gap_numbers_total"),
		dropped:   set.GetOrCreateCounter("scanrelay_central_waybill_data_dropped_total"),
		badTokens: set.GetOrCreateCounter("scanrelay_central_bad_tokens_total"),
		forgotten: set.GetOrCreateCounter("scanrelay_central_waybills_forgotten_total"),
		imported:  set.GetOrCreateCounter("scanrelay_central_waybills_imported_total"),
		rejected:  set.GetOrCreateCounter("scanrelay_central_waybills_rejected_total"),
	}
	gauge := func(name string, f func() float64) { set.GetOrCreateGauge("scanrelay_central_"+name, f) }
	stats := func() snapshot.Stats {
		s, _ := c.o.Snapshot.Stats(context.Background()) // one that cannot tell shows nothing
		return s
	}
	gauge("waybills", func() float64 { return float64(stats().Waybills) })
	gauge("tail_records", func() float64 { return float64(stats().Tail) })
	gauge("store_bytes", func() float64 { return float64(stats().FileBytes) })
	gauge("damage", func() float64 { return float64(len(stats().Damage)) })
	gauge("rate", func() float64 { return c.shares.total() })
	gauge("depots_connected", func() float64 { return float64(c.fleet.connected(c.o.Now())) })
	gauge("waiting_declared", func() float64 { n, _ := c.waiting.counts(); return float64(n) })
	for _, state := range []string{stateOK, stateNoToken, stateBlocked, stateUnreachable} {
		gauge(`wechat_state{state="`+state+`"}`, func() float64 {
			if c.broker.view().State == state {
				return 1
			}
			return 0
		})
	}
	return m
}

func (m *meters) sync(status int, start time.Time) {
	m.set.GetOrCreateCounter(`scanrelay_central_sync_requests_total{code="` + strconv.Itoa(status) + `"}`).Inc()
	m.syncTook.Update(time.Since(start).Seconds())
}

func (m *meters) answer(a snapshot.Answer) {
	result := answer("", 0, a).Result
	m.events(result).Inc()
}

func (m *meters) events(result syncapi.Result) *metrics.Counter {
	return m.set.GetOrCreateCounter(`scanrelay_central_events_total{result="` + string(result) + `"}`)
}

// callback counts a call of WeChat's.
func (m *meters) callback(kind string, code int, took time.Duration) {
	m.set.GetOrCreateCounter(`scanrelay_central_callbacks_total{kind="` + kind + `",code="` + strconv.Itoa(code) + `"}`).Inc()
	m.lookTook.Update(took.Seconds())
}

func (m *meters) jsonp(code string) {
	m.set.GetOrCreateCounter(`scanrelay_central_jsonp_total{code="` + code + `"}`).Inc()
}

// quota counts a request for a quota.
func (m *meters) quota(errcode string) {
	m.set.GetOrCreateCounter(`scanrelay_wechat_requests_total{api="quota",errcode="` + errcode + `"}`).Inc()
}

// quotaGauges shows an API's quota of today from when WeChat first told it.
func (m *meters) quotaGauges(api string, view func(string) (quotaView, bool)) {
	for name, pick := range map[string]func(quotaView) int64{
		"daily":  func(v quotaView) int64 { return v.Daily },
		"remain": func(v quotaView) int64 { return v.Remain },
	} {
		m.set.GetOrCreateGauge(`scanrelay_central_quota_`+name+`{api="`+api+`"}`, func() float64 {
			v, _ := view(api)
			return float64(pick(v))
		})
	}
}

// token counts a request for an access token.
func (m *meters) token(errcode string) {
	m.set.GetOrCreateCounter(`scanrelay_wechat_requests_total{api="stable_token",errcode="` + errcode + `"}`).Inc()
}
