package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWhatIsPerhapsNotMeant: check says of what works and is dangerous that it is,
// and refuses what cannot work.
func TestWhatIsPerhapsNotMeant(t *testing.T) {
	open := func(text string) string {
		path := write(t, text)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		path, want string
		fails      bool
	}{
		"a file for all":         {open(centralBase), "every user of this machine can read", false},
		"one letter":             {write(t, strings.Replace(centralBase, "admin_token: a-0123456789-abcdef", "admin_token: a", 1)), "admin_token: warning: has 1 characters only", false},
		"the example's":          {write(t, strings.Replace(centralBase, "token: t1-0123456789-abc", "token: Change-Me-hz-01", 1)), "depots[0].token: warning: is the example's", false},
		"everywhere, in clear":   {write(t, centralBase+"listen: 0.0.0.0:8080\n"), "listen: warning: 0.0.0.0:8080 is not this machine alone", false},
		"every address":          {write(t, centralBase+"listen: ':8080'\n"), "listen: warning: :8080 is not this machine alone", false},
		"operators everywhere":   {write(t, centralBase+"ops_listen: 0.0.0.0:9107\n"), "ops_listen: warning", false},
		"operators on the same":  {write(t, centralBase+"ops_listen: 127.0.0.1:8080\n"), "ops_listen: 127.0.0.1:8080 is taken by listen", true},
		"WeChat's, with a blank": {write(t, strings.Replace(centralBase, "token: t3t", "token: 't 3t'", 1)), "wechat.callback.token: holds a blank", true},
		"WeChat's, with others":  {write(t, strings.Replace(centralBase, "token: t3t", "token: t-3t", 1)), "wechat.callback.token: warning: is none that WeChat's console takes", false},
	} {
		_, ps := LoadCentral(c.path, nil)
		if got := short(ps, c.path); !strings.Contains(got, c.want) || ps.Failed() != c.fails {
			t.Errorf("%s: fails %v:\n%s", name, ps.Failed(), got)
		}
	}
	path := write(t, centralBase)
	if _, ps := LoadCentral(path, nil); len(ps) > 0 {
		t.Errorf("a sound one: %s", ps)
	}
}

// TestCertificateDates: an expired certificate is told, and does not keep a role
// from starting.
func TestCertificateDates(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		from, to time.Duration
		want     string
	}{
		"expired": {-9 * day, -day, "expired on"}, "not yet": {day, 90 * day, "is valid from"}, "soon": {-day, day, "expires on"}, "sound": {-day, 90 * day, ""},
	} {
		dir := t.TempDir()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(c.from), NotAfter: time.Now().Add(c.to), DNSNames: []string{"c"}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		crt, pk := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
		for path, block := range map[string]*pem.Block{crt: {Type: "CERTIFICATE", Bytes: der}, pk: {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, ps := LoadCentral(write(t, centralBase+"tls: {cert_file: "+crt+", key_file: "+pk+"}\n"), nil)
		if ps.Failed() || (len(ps) > 0) != (c.want != "") || !strings.Contains(ps.String(), c.want) {
			t.Errorf("%s: %s", name, ps)
		}
	}
}
