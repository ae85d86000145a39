package syncapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSOptions are the paths of central.tls; all may be empty.
type TLSOptions struct {
	CAFile   string // PEM; empty: the system's authorities
	CertFile string // PEM; with KeyFile, the depot's client certificate
	KeyFile  string
}

// config reads the files once to find mistakes at start. The client certificate
// is read again for each handshake, so that a renewed one is used without a
// restart.
func (o TLSOptions) config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pool, err := readPool(o.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = pool
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("central.tls: cert_file and key_file belong together, one of them is missing")
	}
	if o.CertFile == "" {
		return conf, nil
	}
	if _, err := o.certificate(); err != nil {
		return nil, err
	}
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.certificate() }
	return conf, nil
}

func (o TLSOptions) certificate() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read central.tls certificate: %w", err)
	}
	return &cert, nil
}

func readPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read central.tls.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("central.tls.ca_file %s holds no certificate in PEM", path)
	}
	return pool, nil
}
