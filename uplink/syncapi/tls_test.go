package syncapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scanrelay/configs/tlsfile"
)

// certificate writes a self-signed certificate and its key and returns it.
func certificate(t *testing.T, dir, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for suffix, content := range map[string][]byte{".pem": cert, ".key": private} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// A client certificate that was renewed on disk is used without a restart.
func TestClientCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	var seen []string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.TLS.PeerCertificates[0].SerialNumber.String())
		io.WriteString(w, answerOK)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{certificate(t, dir, "central")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	certificate(t, dir, "depot")
	o := tlsfile.Client{CAFile: filepath.Join(dir, "central.pem"), CertFile: filepath.Join(dir, "depot.pem"), KeyFile: filepath.Join(dir, "depot.key")}
	c, err := NewClient(Options{URL: s.URL, TLS: o})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Sync(t.Context(), &Request{}); err != nil {
			t.Fatal(err)
		}
		certificate(t, dir, "depot")
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
