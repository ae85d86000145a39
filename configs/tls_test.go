package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

func TestCertificatesAreChecked(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	cert, key := certificate(t, dir, "a")
	_, otherKey := certificate(t, other, "b")
	load := func(server string) string {
		_, ps := ReadCentral("c.yaml", []byte(centralBase+"tls: "+server+"\n"), nil)
		return ps.Errors().String()
	}
	for server, want := range map[string]string{
		"{cert_file: " + cert + ", key_file: " + key + ", client_ca_file: " + cert + "}": "",
		"{cert_file: " + cert + ", key_file: " + otherKey + "}":                          "c.yaml:7: tls.cert_file: is no pair with key_file: private key does not match public key",
		"{cert_file: " + cert + ", key_file: /none}":                                     "c.yaml:7: tls.key_file: cannot be read: open /none",
		"{key_file: " + key + "}":                                                        "c.yaml:7: tls.cert_file: is required with key_file",
		"{client_ca_file: " + cert + "}":                                                 "c.yaml:7: tls.client_ca_file: needs tls.cert_file and tls.key_file",
		"{cert_file: " + cert + ", key_file: " + key + ", client_ca_file: " + key + "}":  "c.yaml:7: tls.client_ca_file: " + key + " holds no certificate in PEM form",
	} {
		if got := load(server); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s:\n%s\nwant %s", server, got, want)
		}
	}
}
