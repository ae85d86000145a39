package broker

import (
	"crypto/tls"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/configs/tlsfile"
	"scanrelay/configs/tlsfile/tlstest"
)

func TestBrokerTLS(t *testing.T) {
	a := tlstest.NewAuthority(t)
	crt, key := a.Issue("server", "127.0.0.1")
	conf, err := tlsfile.Server{CertFile: crt, KeyFile: key, ClientCAFile: a.File("ca.crt")}.Config(tls.RequireAndVerifyClientCert)
	if err != nil {
		t.Fatal(err)
	}
	j := intaketest.NewOutbox(t, 0)
	_, addr, _ := serveBroker(t, Config{}, j, Listener{TLS: conf})
	addr = strings.Replace(addr, "tcp://", "ssl://", 1)
	clientCrt, clientKey := a.Issue("scanner", "")
	trust, err := tlsfile.Client{CAFile: a.File("ca.crt"), CertFile: clientCrt, KeyFile: clientKey}.Config()
	if err != nil {
		t.Fatal(err)
	}
	var serial *big.Int
	trust.VerifyConnection = func(cs tls.ConnectionState) error {
		serial = cs.PeerCertificates[0].SerialNumber
		return nil
	}
	with := func(o *mqtt.ClientOptions) { o.SetTLSConfig(trust) }
	c := intaketest.Connect(t, addr, "scanner", with)
	if token := c.Publish("scans/g", 1, false, intaketest.Payload("YT00000001")); !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	before := serial
	a.Issue("server", "127.0.0.1")
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(crt, later, later); err != nil {
		t.Fatal(err)
	}
	intaketest.Connect(t, addr, "scanner-2", with)
	if serial.Cmp(before) == 0 {
		t.Error("the renewed certificate is not used")
	}
	bare := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(addr).SetClientID("x").SetConnectTimeout(2 * time.Second).
		SetTLSConfig(&tls.Config{RootCAs: trust.RootCAs}))
	if token := bare.Connect(); token.WaitTimeout(intaketest.Patience) && token.Error() == nil {
		t.Error("a client without a certificate came in")
	}
}
