package configs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// TLS is how a client proves who it is and whom it believes. The _file keys
// here are paths, not secrets; the parts read the files themselves, again for
// each connection.
type TLS struct {
	CAFile   string `yaml:"ca_file"` // "": the system's
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// ServerTLS is a TLS listener; without cert_file it speaks in clear.
type ServerTLS struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"` // ask clients for a certificate by this CA
}

// Enabled reports whether the listener speaks TLS.
func (t ServerTLS) Enabled() bool { return t.CertFile != "" }

// Config returns the listener's TLS settings, nil if it speaks in clear. A
// client certificate is verified where one is given; who needs one is the
// server's decision.
func (t ServerTLS) Config() (*tls.Config, error) {
	if !t.Enabled() {
		return nil, nil
	}
	pair := &keyPair{cert: t.CertFile, key: t.KeyFile}
	if _, err := pair.load(); err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.load() },
	}
	if t.ClientCAFile != "" {
		pool, err := loadPool(t.ClientCAFile)
		if err != nil {
			return nil, err
		}
		c.ClientCAs, c.ClientAuth = pool, tls.VerifyClientCertIfGiven
	}
	return c, nil
}

func loadPool(path string) (*x509.CertPool, error) {
	pem, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(path + " holds no certificate in PEM form")
	}
	return pool, nil
}

// keyPair is a certificate with its key that is read again once its file has
// changed. While the new files don't fit together the old pair stays.
type keyPair struct {
	cert, key string

	mu     sync.Mutex // guards what follows
	read   time.Time  // modification times of what was read
	loaded *tls.Certificate
}

func (p *keyPair) load() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := latest(p.cert, p.key)
	if p.loaded != nil && changed.Equal(p.read) {
		return p.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		if p.loaded != nil {
			return p.loaded, nil
		}
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	p.loaded, p.read = &pair, changed
	return p.loaded, nil
}

// latest returns the later of two files' modification times; zero where one
// can't be seen.
func latest(a, b string) time.Time {
	ia, err1 := os.Stat(a)
	ib, err2 := os.Stat(b)
	if err1 != nil || err2 != nil {
		return time.Time{}
	}
	if ia.ModTime().After(ib.ModTime()) {
		return ia.ModTime()
	}
	return ib.ModTime()
}
