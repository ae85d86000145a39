package source

import (
	"strings"
	"testing"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/configs/tlsfile"
	"scanrelay/configs/tlsfile/tlstest"
)

// A client certificate that was renewed in its file is used from the next
// connection on; without one the broker refuses, which is told.
func TestSourceTLS(t *testing.T) {
	a := tlstest.NewAuthority(t)
	crt, key := a.Issue("server", "127.0.0.1")
	mq := intaketest.StartMosquitto(t, "listener %d 127.0.0.1", "cafile "+a.File("ca.crt"), "certfile "+crt, "keyfile "+key, "require_certificate true", "tls_version tlsv1.2")
	addr := strings.Replace(mq.Addr(), "tcp://", "ssl://", 1)
	j, m := intaketest.NewOutbox(t, 0), intaketest.Mapper(t, mapping.Config{})
	s, _ := startSource(t, Config{Config: link.Config{
		Brokers: []string{addr}, TLS: tlsfile.Client{CAFile: a.File("ca.crt"), CertFile: a.File("depot.crt"), KeyFile: a.File("depot.key")},
	}}, m, j)
	intaketest.Eventually(t, "the missing certificate is told", func() bool { return strings.Contains(s.Status().Problem, "depot.crt") })
	a.Issue("depot", "")
	intaketest.Eventually(t, "connected with the new certificate", func() bool { return s.Status().Connected })

	s, _ = startSource(t, Config{Config: link.Config{Brokers: []string{addr}, ClientID: "other"}}, m, j)
	intaketest.Eventually(t, "an unknown authority is told", func() bool { return strings.Contains(s.Status().Problem, "unknown authority") })
}
