package central

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/configs/exposition"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

var (
	syncBuckets   = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	lookupBuckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5}
)

// meters are metrics of the syncs, the callback and the store; other rooms count
// for themselves. No label carries anything of a waybill.
type meters struct {
	set       *metrics.Set
	syncTook  *metrics.PrometheusHistogram
	lookTook  *metrics.PrometheusHistogram
	gap       *metrics.Counter
	again     *metrics.Counter
	dropped   *metrics.Counter
	forgotten *metrics.Counter
}

func newMeters(c *Central) *meters {
	set := c.o.Metrics
	c.gauges()
	return &meters{
		set:       set,
		syncTook:  set.GetOrCreatePrometheusHistogramExt("scanrelay_central_sync_seconds", syncBuckets),
		lookTook:  set.GetOrCreatePrometheusHistogramExt("scanrelay_central_lookup_seconds", lookupBuckets),
		gap:       set.GetOrCreateCounter("scanrelay_central_gap_numbers_total"),
		again:     set.GetOrCreateCounter("scanrelay_central_ended_events_again_total"),
		dropped:   set.GetOrCreateCounter("scanrelay_central_waybill_data_dropped_total"),
		forgotten: set.GetOrCreateCounter("scanrelay_central_waybills_forgotten_total"),
	}
}

// gauges show what is asked for when they are read. What cannot be told shows 0.
func (c *Central) gauges() {
	ctx := context.Background()
	gauge := func(name string, f func() float64) { c.o.Metrics.GetOrCreateGauge("scanrelay_central_"+name, f) }
	stats := func(name string, pick func(*snapshot.Stats) float64) {
		gauge(name, func() float64 {
			s, _ := c.o.Snapshot.Stats(ctx)
			return pick(&s)
		})
	}
	stats("waybills", func(s *snapshot.Stats) float64 { return float64(s.Waybills) })
	stats("tail_records", func(s *snapshot.Stats) float64 { return float64(s.Tail) })
	stats("store_bytes", func(s *snapshot.Stats) float64 { return float64(s.FileBytes) })
	stats("forgetting_held", func(s *snapshot.Stats) float64 {
		if s.Held != "" {
			return 1
		}
		return 0
	})
	stats("store_blocked", func(s *snapshot.Stats) float64 {
		if s.Blocked != "" {
			return 1
		}
		return 0
	})
	stats("missing_seconds", func(s *snapshot.Stats) float64 { return s.Missing.Seconds() })
	stats("damage", func(s *snapshot.Stats) float64 { return float64(len(s.Damage)) })
	gauge("rate", func() float64 { rate, _ := c.shares.Total(ctx); return rate })
	gauge("waiting_declared", func() float64 { n, _ := c.waiting.Counts(ctx); return float64(n.Declared) })
	gauge("waiting_dropped_total", func() float64 { n, _ := c.waiting.Counts(ctx); return float64(n.Dropped) })
	gauge("depots_connected", func() float64 { n, _ := c.presence.Connected(ctx); return float64(n) })
}

func (m *meters) sync(status int, start time.Time) {
	m.set.GetOrCreateCounter(`scanrelay_central_sync_requests_total{code="` + strconv.Itoa(status) + `"}`).Inc()
	m.syncTook.Update(time.Since(start).Seconds())
}

func (m *meters) events(result syncapi.Result) *metrics.Counter {
	return m.set.GetOrCreateCounter(`scanrelay_central_events_total{result="` + string(result) + `"}`)
}

// callback counts a call of WeChat's.
func (m *meters) callback(kind string, code int, took time.Duration) {
	m.set.GetOrCreateCounter(`scanrelay_central_callbacks_total{kind="` + kind + `",code="` + strconv.Itoa(code) + `"}`).Inc()
	m.lookTook.Update(took.Seconds())
}

// serveHealth is GET /healthz: the process lives and its disk can be trusted.
func (c *Central) serveHealth(w http.ResponseWriter, r *http.Request) {
	if c.o.Snapshot.Health(r.Context()) != nil {
		http.Error(w, "the snapshot has failed, see the log", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// serveReady is GET /readyz: WeChat and depots can be answered. WeChat being
// away doesn't matter.
func (c *Central) serveReady(w http.ResponseWriter, r *http.Request) {
	store := prompt{c.o.Snapshot}
	if _, _, err := store.Lookup(r.Context(), "0"); err != nil && !errors.Is(err, snapshot.ErrDamaged) {
		http.Error(w, "the snapshot cannot be read", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

//go:embed metrics.txt
var metricRows string

var metricTable = exposition.MustRead(metricRows)

// serveMetrics is GET /metrics.
func (c *Central) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	var b bytes.Buffer
	c.o.Metrics.WritePrometheus(&b)
	metrics.WriteCounterUint64(&b, "scanrelay_central_log_dropped_total", c.o.LogDropped())
	waits, _ := durable.Shortages()
	metrics.WriteCounterUint64(&b, "scanrelay_central_descriptor_waits_total", waits)
	_ = metricTable.Write(w, b.Bytes(), c.o.Version) // who asked may be gone
}
