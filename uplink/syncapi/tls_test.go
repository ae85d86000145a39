package syncapi

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"scanrelay/configs/tlsfile"
	"scanrelay/configs/tlsfile/tlstest"
)

// A client certificate that was renewed on disk is used without a restart.
func TestClientCertificateIsReadAgain(t *testing.T) {
	a := tlstest.NewAuthority(t)
	crt, key := a.Issue("central", "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.TLS.PeerCertificates[0].SerialNumber.String())
		io.WriteString(w, answerOK)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	crt, key = a.Issue("depot", "")
	o := tlsfile.Client{CAFile: a.File("ca.crt"), CertFile: crt, KeyFile: key}
	c, err := NewClient(Options{URL: s.URL, TLS: o})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Sync(t.Context(), &Request{}); err != nil {
			t.Fatal(err)
		}
		a.Issue("depot", "")
		c.http.CloseIdleConnections()
	}
	if len(seen) != 2 || seen[0] == seen[1] {
		t.Errorf("certificates seen: %v", seen)
	}
}

func TestUnknownAuthorityIsRefused(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answerOK) }))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	if _, err := dial(t, s.URL).Sync(t.Context(), &Request{}); err == nil {
		t.Error("a certificate of nobody was accepted")
	}
}
