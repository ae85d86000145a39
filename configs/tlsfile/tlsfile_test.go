package tlsfile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scanrelay/configs/tlsfile"
)

// certificate writes a self-signed pair of that name and returns the paths.
func certificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func commonName(t *testing.T, c *tls.Config) string {
	t.Helper()
	pair, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestARenewedCertificateIsTakenUp(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, "first")
	conf, err := tlsfile.Server{CertFile: cert, KeyFile: key, ClientCAFile: cert}.Config(tls.VerifyClientCertIfGiven)
	if err != nil {
		t.Fatal(err)
	}
	if conf.ClientCAs == nil || conf.ClientAuth != tls.VerifyClientCertIfGiven {
		t.Error("clients are not asked for certificates")
	}
	if got := commonName(t, conf); got != "first" {
		t.Errorf("certificate of %q", got)
	}
	certificate(t, dir, "second")
	touch(t, time.Now().Add(time.Second), cert, key)
	if got := commonName(t, conf); got != "second" {
		t.Errorf("after the renewal: certificate of %q", got)
	}
	// While the new files don't fit together the old pair stays.
	if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, time.Now().Add(2*time.Second), key)
	if got := commonName(t, conf); got != "second" {
		t.Errorf("during a renewal: certificate of %q", got)
	}
}

func touch(t *testing.T, at time.Time, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsWrongWithTheFilesIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, "a")
	_, otherKey := certificate(t, t.TempDir(), "b")
	for name, conf := range map[string]func() (*tls.Config, error){
		"no such certificate": func() (*tls.Config, error) {
			return tlsfile.Server{CertFile: dir + "/none.crt", KeyFile: key}.Config(tls.NoClientCert)
		},
		"no such authority": func() (*tls.Config, error) {
			return tlsfile.Server{CertFile: cert, KeyFile: key, ClientCAFile: dir + "/none.crt"}.Config(tls.RequireAndVerifyClientCert)
		},
		"a key as authority": tlsfile.Client{CAFile: key}.Config,
		"no pair":            tlsfile.Client{CertFile: cert, KeyFile: otherKey}.Config,
		"no key":             tlsfile.Client{CertFile: cert}.Config,
		"no certificate":     tlsfile.Client{KeyFile: key}.Config,
	} {
		if _, err := conf(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if conf, err := (tlsfile.Server{}).Config(tls.NoClientCert); conf != nil || err != nil {
		t.Errorf("without a certificate: %v, %v", conf, err)
	}
}
