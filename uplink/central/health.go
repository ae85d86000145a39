package central

import (
	"io"
	"net/http"

	"github.com/VictoriaMetrics/metrics"
)

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
	if _, _, err := c.o.Snapshot.Lookup(r.Context(), "0"); err != nil {
		http.Error(w, "the snapshot cannot be read", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

// serveMetrics is GET /metrics.
func (c *Central) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	c.o.Metrics.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
