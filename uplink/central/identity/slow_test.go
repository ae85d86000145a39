package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/syncapi"
)

// slowStore answers nobody.
type slowStore struct{ Store }

func (slowStore) Update(ctx context.Context, _ func(Tx) error) error { <-ctx.Done(); return ctx.Err() }

// TestSlowStore: a gateway is told to come again, and many that are do not fill the log.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		keys := caller.NewKeyring(caller.Options{Now: time.Now, Logger: logger, Metrics: metrics.NewSet()})
		s := &Service{o: Options{Store: slowStore{}, Keys: keys, Now: time.Now, Logger: logger}, wrong: keys.Guesses("enrolment")}
		s.failed.Every = time.Hour
		mux := http.NewServeMux()
		s.Gateways(mux)
		body, err := json.Marshal(syncapi.NewEnrol("hz-01", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), "sre-x"))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r, w, start := httptest.NewRequest("POST", syncapi.EnrolPath, bytes.NewReader(body)), httptest.NewRecorder(), time.Now()
			r.RemoteAddr = "127.0.0.1:1"
			mux.ServeHTTP(w, r)
			if took := time.Since(start); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || took != callLimit {
				t.Errorf("after %s: %d %s", took, w.Code, w.Body)
			}
		}
		if n := strings.Count(log.String(), "depots' identities"); n != 1 {
			t.Errorf("%d lines:\n%s", n, &log)
		}
	})
}
