package intake

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// BrokerConfig configures a Broker. What is zero has a default.
type BrokerConfig struct {
	Users []User // none: nobody has to log in
	// TLS makes every connection a TLS one; nil: plain. See ServerTLS.
	TLS        *tls.Config
	MaxPacket  int64   // bytes; default 256 KiB
	MaxClients int     // default 1000
	Rate       float64 // events a second per client id; 0: unlimited
	// MaxWaiting bounds the bytes of all messages that wait for their commit;
	// default 32 MiB. One connection gets at most an eighth of it.
	MaxWaiting int64
	// Hold is how many publishes of one connection are held while there is no
	// room, and HoldFor how long; then it is closed. Defaults: 512, 30 s.
	Hold         int
	HoldFor      time.Duration
	DedupeWindow time.Duration // 0: off
	Logger       *slog.Logger

	slow time.Duration // a device that reads nothing for so long is cut
}

// User may log in at the embedded broker.
type User struct {
	Username string
	Password string
	Publish  []string // topic filters it may publish to; none: all
}

// Limits of a Broker that no configuration changes.
const (
	connectWithin   = 10 * time.Second // from accept to CONNECT
	maxSubscribed   = 64               // filters of one client
	maxQueue        = 2048             // publishes of one connection that wait for their commit
	sessionKept     = 600              // seconds that a session outlives its connection
	flushTime       = 2 * time.Second  // for acknowledgements before a stop
	retryFullEvery  = 200 * time.Millisecond
	slowRefusal     = time.Second
	maxSlowRefusals = 256
	halfOpenAllowed = 64 // connections beside MaxClients that have not logged in
)

func (c *BrokerConfig) setDefaults() {
	if c.MaxPacket <= 0 {
		c.MaxPacket = 256 << 10
	}
	if c.MaxClients <= 0 {
		c.MaxClients = 1000
	}
	if c.MaxWaiting <= 0 {
		c.MaxWaiting = 32 << 20
	}
	if c.Hold <= 0 {
		c.Hold = 512
	}
	if c.slow <= 0 {
		c.slow = writeTimeout
	}
	if c.HoldFor <= 0 {
		c.HoldFor = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// ServerTLS returns a server's TLS configuration that reads its certificate
// again when the files change. With a client CA every client needs a
// certificate of it.
func ServerTLS(certFile, keyFile, clientCAFile string) (*tls.Config, error) {
	r := &reloader{certFile: certFile, keyFile: keyFile}
	if _, err := r.get(nil); err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.get}
	if clientCAFile != "" {
		pool, err := certPool(clientCAFile)
		if err != nil {
			return nil, err
		}
		conf.ClientCAs, conf.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return conf, nil
}

// reloader keeps a certificate while its files stay the same.
type reloader struct {
	certFile, keyFile string

	mu      sync.Mutex
	pair    *tls.Certificate // guarded by mu
	changed time.Time        // of the newer file; guarded by mu
}

// get implements tls.Config.GetCertificate. While the files are being replaced
// the certificate before stays in use.
func (r *reloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := newest(r.certFile, r.keyFile)
	if r.pair != nil && at.Equal(r.changed) {
		return r.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	if err != nil {
		if r.pair != nil {
			return r.pair, nil
		}
		return nil, fmt.Errorf("load server certificate: %w", err)
	}
	r.pair, r.changed = &pair, at
	return r.pair, nil
}

func newest(files ...string) (at time.Time) {
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.ModTime().After(at) {
			at = st.ModTime()
		}
	}
	return at
}
