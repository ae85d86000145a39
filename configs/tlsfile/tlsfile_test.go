package tlsfile_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"scanrelay/configs/tlsfile"
	"scanrelay/configs/tlsfile/tlstest"
)

func serial(t *testing.T, c *tls.Config) string {
	t.Helper()
	pair, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber.String()
}

func TestARenewedCertificateIsTakenUp(t *testing.T) {
	a := tlstest.NewAuthority(t) // number 1
	cert, key := a.Issue("server", "")
	conf, err := tlsfile.Server{CertFile: cert, KeyFile: key, ClientCAFile: cert}.Config(tls.VerifyClientCertIfGiven)
	if err != nil {
		t.Fatal(err)
	}
	if conf.ClientCAs == nil || conf.ClientAuth != tls.VerifyClientCertIfGiven {
		t.Error("clients are not asked for certificates")
	}
	if got := serial(t, conf); got != "2" {
		t.Errorf("certificate number %s", got)
	}
	a.Issue("server", "")
	touch(t, time.Now().Add(time.Second), cert, key)
	if got := serial(t, conf); got != "3" {
		t.Errorf("after the renewal: certificate number %s", got)
	}
	// While the new files don't fit together the old pair stays.
	if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, time.Now().Add(2*time.Second), key)
	if got := serial(t, conf); got != "3" {
		t.Errorf("during a renewal: certificate number %s", got)
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
	a := tlstest.NewAuthority(t)
	cert, key := a.Issue("a", "")
	_, otherKey := a.Issue("b", "")
	for name, conf := range map[string]func() (*tls.Config, error){
		"no such certificate": func() (*tls.Config, error) {
			return tlsfile.Server{CertFile: a.File("none.crt"), KeyFile: key}.Config(tls.NoClientCert)
		},
		"no such authority": func() (*tls.Config, error) {
			return tlsfile.Server{CertFile: cert, KeyFile: key, ClientCAFile: a.File("none.crt")}.Config(tls.RequireAndVerifyClientCert)
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

// TestFilesOfCertificatesAreBounded: one up to the bound is read whole, a larger one is
// refused with its size, whatever it begins with.
func TestFilesOfCertificatesAreBounded(t *testing.T) {
	a := tlstest.NewAuthority(t)
	cert, key := a.Issue("server", "")
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	const most = 1 << 20
	for size, fits := range map[int]bool{most: true, most + 1: false} {
		filled := bytes.Repeat([]byte{'\n'}, size-len(pem))
		if err := os.WriteFile(cert, append(filled, pem...), 0o600); err != nil {
			t.Fatal(err)
		}
		_, errPair := tlsfile.Pair(cert, key)
		_, errCA := tlsfile.Client{CAFile: cert}.Config()
		for _, err := range []error{errPair, errCA} {
			if (err == nil) != fits || err != nil && !strings.Contains(err.Error(), cert) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
}
