package caller_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/central/caller"
)

const (
	adminToken = "admin-secret"
	tokenHZ    = "hz-secret"
	tokenSH    = "sh-secret"
)

func keyring(depots []caller.Depot, admin secret.Text) *caller.Keyring {
	return caller.NewKeyring(caller.Options{
		Credentials: caller.Credentials{Depots: depots, Admin: admin}, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
	})
}

func TestCredentials(t *testing.T) {
	depots := []caller.Depot{{ID: "hz-01", Token: tokenHZ}, {ID: "sh-01", Token: tokenSH}}
	k := keyring(depots, adminToken)
	chain := func(name string) *tls.ConnectionState {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	}
	unverified := chain("hz-01")
	unverified.VerifiedChains = nil
	for _, c := range []struct {
		name, authorization string
		tls                 *tls.ConnectionState
		status              int
		depot               scan.DepotID
	}{
		{"a token", "Bearer " + tokenHZ, nil, 200, "hz-01"},
		{"scheme in lower case", "bearer " + tokenSH, nil, 200, "sh-01"},
		{"nothing", "", nil, 401, ""},
		{"unknown token", "Bearer nobody", nil, 401, ""},
		{"empty token", "Bearer ", nil, 401, ""},
		{"token in part", "Bearer " + tokenHZ[:4], nil, 401, ""},
		{"admin token", "Bearer " + adminToken, nil, 401, ""},
		{"basic", "Basic aHotMDE6aHotc2VjcmV0", nil, 401, ""},
		{"a certificate", "", chain("hz-01"), 200, "hz-01"},
		{"a certificate of nobody", "", chain("xx-99"), 403, ""},
		{"an unverified certificate", "", unverified, 401, ""},
		{"both, alike", "Bearer " + tokenHZ, chain("hz-01"), 200, "hz-01"},
		{"both, unlike", "Bearer " + tokenHZ, chain("sh-01"), 403, ""},
		{"certificate with a wrong token", "Bearer nobody", chain("hz-01"), 401, ""},
	} {
		r := httptest.NewRequest("POST", "/v1/sync", nil)
		r.TLS = c.tls
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		if depot, _, status, why := k.Depot(r); status != c.status || depot != c.depot || (why == "") != (status == 200) {
			t.Errorf("%s: %q, %d, %q", c.name, depot, status, why)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer ")
	if _, status := keyring(depots, "").Looker(r); status == 200 {
		t.Error("no admin token is configured, and an empty one opens")
	}
}
