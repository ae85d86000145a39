package configs

import (
	"os"
	"strings"
	"testing"

	"scanrelay/configs/tlsfile/tlstest"
)

func TestCertificatesAreChecked(t *testing.T) {
	a := tlstest.NewAuthority(t)
	cert, key := a.Issue("a", "")
	_, otherKey := a.Issue("b", "")
	marked, wide := t.TempDir()+"/marked.pem", t.TempDir()+"/wide.pem"
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		marked: "\ufeff" + string(text), wide: "\xff\xfe" + strings.Join(strings.Split(string(text), ""), "\x00") + "\x00",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(server string) string {
		_, ps := ReadCentral("c.yaml", []byte(centralBase+"tls: "+server+"\n"), nil)
		return ps.Errors().String()
	}
	for server, want := range map[string]string{
		"{cert_file: " + cert + ", key_file: " + key + ", client_ca_file: " + cert + "}":     "",
		"{cert_file: " + marked + ", key_file: " + key + ", client_ca_file: " + marked + "}": "",
		"{cert_file: " + wide + ", key_file: " + key + "}":                                   "c.yaml:7: tls.cert_file: is no pair with key_file: " + wide + ":1: is UTF-16: save it as UTF-8",
		"{cert_file: " + cert + ", key_file: " + key + ", client_ca_file: " + wide + "}":     "c.yaml:7: tls.client_ca_file: " + wide + ":1: is UTF-16: save it as UTF-8",
		"{cert_file: " + cert + ", key_file: " + otherKey + "}":                              "c.yaml:7: tls.cert_file: is no pair with key_file: private key does not match public key",
		"{cert_file: " + cert + ", key_file: /none}":                                         "c.yaml:7: tls.key_file: cannot be read: open /none",
		"{key_file: " + key + "}":        "c.yaml:7: tls.cert_file: is required with key_file",
		"{client_ca_file: " + cert + "}": "c.yaml:7: tls.client_ca_file: needs tls.cert_file and tls.key_file",
		"{cert_file: " + cert + ", key_file: " + key + ", client_ca_file: " + key + "}": "c.yaml:7: tls.client_ca_file: " + key + " holds no certificate in PEM form",
	} {
		if got := load(server); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s:\n%s\nwant %s", server, got, want)
		}
	}
}
