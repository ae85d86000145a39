package caller_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"net/http/httptest"
	"strings"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/caller"
)

// TestPinnedCertificates: a depot whose certificates are named by their fingerprints
// shows one of these, whatever their CN; others go by it.
func TestPinnedCertificates(t *testing.T) {
	sum := sha256.Sum256([]byte("pinned"))
	hexed := strings.ToUpper(hex.EncodeToString(sum[:]))
	var pin strings.Builder
	for i := 0; i < len(hexed); i += 2 {
		pin.WriteString(":" + hexed[i:i+2])
	}
	k := keyring([]caller.Depot{
		{ID: "hz-01", CertSHA256: []string{strings.TrimPrefix(pin.String(), ":")}}, {ID: "sh-01"}, {ID: "nj-01", Token: "nj-secret", TokenNext: "nj-next"},
	}, adminToken)
	for _, c := range []struct {
		raw, cn, token string
		status         int
		depot          scan.DepotID
	}{
		{"pinned", "anything", "", 200, "hz-01"},
		{"pinned", "sh-01", "", 200, "hz-01"},
		{"another", "hz-01", "", 403, ""},
		{"another", "sh-01", "", 200, "sh-01"},
		{"another", "nobody", "", 403, ""},
		{"pinned", "", "nj-secret", 403, ""},
		{"", "", "nj-secret", 200, "nj-01"},
		{"", "", "nj-next", 200, "nj-01"},
	} {
		r := httptest.NewRequest("POST", "/v1/sync", nil)
		if c.raw != "" {
			cert := &x509.Certificate{Raw: []byte(c.raw), Subject: pkix.Name{CommonName: c.cn}}
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
		}
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		if depot, _, status, why := k.Depot(r); status != c.status || depot != c.depot {
			t.Errorf("%s with CN %q and token %q: %q, %d, %s", c.raw, c.cn, c.token, depot, status, why)
		}
	}
}
