package intake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/mapping"
	"scanrelay/configs/tlsfile"
)

// authority issues certificates for a test.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.issue("ca", "")
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.crt and name.key.
func (a *authority) issue(name, host string) (crt, key string) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if a.cert == nil {
		tmpl.IsCA, tmpl.KeyUsage = true, x509.KeyUsageCertSign
		parent, signer = tmpl, k
	}
	if host != "" {
		tmpl.IPAddresses = []net.IP{net.ParseIP(host)}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &k.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
		a.key = k
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	crt, key = a.file(name+".crt"), a.file(name+".key")
	a.write(crt, "CERTIFICATE", der)
	a.write(key, "PRIVATE KEY", keyDER)
	return crt, key
}

func (a *authority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// A client certificate that was renewed in its file is used from the next
// connection on; without one the broker refuses, which is told.
func TestSourceTLS(t *testing.T) {
	a := newAuthority(t)
	crt, key := a.issue("server", "127.0.0.1")
	mq := startMosquitto(t, "listener %d 127.0.0.1", "cafile "+a.file("ca.crt"), "certfile "+crt, "keyfile "+key, "require_certificate true", "tls_version tlsv1.2")
	addr := strings.Replace(mq.addr(), "tcp://", "ssl://", 1)
	j, m := newFakeJournal(t, 0), testMapper(t, mapping.Config{})
	s, _ := startSource(t, SourceConfig{
		Brokers: []string{addr}, TLS: tlsfile.Client{CAFile: a.file("ca.crt"), CertFile: a.file("depot.crt"), KeyFile: a.file("depot.key")},
	}, m, j)
	eventually(t, "the missing certificate is told", func() bool { return strings.Contains(s.Status().Problem, "depot.crt") })
	a.issue("depot", "")
	eventually(t, "connected with the new certificate", s.Connected)

	s, _ = startSource(t, SourceConfig{Brokers: []string{addr}, ClientID: "other"}, m, j)
	eventually(t, "an unknown authority is told", func() bool { return strings.Contains(s.Status().Problem, "unknown authority") })
}

func TestBrokerTLS(t *testing.T) {
	a := newAuthority(t)
	crt, key := a.issue("server", "127.0.0.1")
	conf, err := tlsfile.Server{CertFile: crt, KeyFile: key, ClientCAFile: a.file("ca.crt")}.Config(tls.RequireAndVerifyClientCert)
	if err != nil {
		t.Fatal(err)
	}
	j := newFakeJournal(t, 0)
	_, addr := startBroker(t, BrokerConfig{TLS: conf}, j)
	addr = strings.Replace(addr, "tcp://", "ssl://", 1)
	clientCrt, clientKey := a.issue("scanner", "")
	trust, err := tlsfile.Client{CAFile: a.file("ca.crt"), CertFile: clientCrt, KeyFile: clientKey}.Config()
	if err != nil {
		t.Fatal(err)
	}
	var serial *big.Int
	trust.VerifyConnection = func(cs tls.ConnectionState) error {
		serial = cs.PeerCertificates[0].SerialNumber
		return nil
	}
	with := func(o *mqtt.ClientOptions) { o.SetTLSConfig(trust) }
	c := connect(t, addr, "scanner", with)
	if token := c.Publish("scans/g", 1, false, payload("YT00000001")); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	before := serial
	a.issue("server", "127.0.0.1")
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(crt, later, later); err != nil {
		t.Fatal(err)
	}
	connect(t, addr, "scanner-2", with)
	if serial.Cmp(before) == 0 {
		t.Error("the renewed certificate is not used")
	}
	bare := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(addr).SetClientID("x").SetConnectTimeout(2 * time.Second).
		SetTLSConfig(&tls.Config{RootCAs: trust.RootCAs}))
	if token := bare.Connect(); token.WaitTimeout(5*time.Second) && token.Error() == nil {
		t.Error("a client without a certificate came in")
	}
}
