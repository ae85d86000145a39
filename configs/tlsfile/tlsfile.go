package tlsfile

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"scanrelay/configs/textfile"
)

// Client is how a client proves who it is and whom it believes: paths of PEM
// files, all of which may be empty.
type Client struct {
	CAFile   string `yaml:"ca_file"` // "": the system's authorities
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Config reads the files. The certificate is read again for each handshake; the
// authorities are not.
func (c Client) Config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pool, err := Pool(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file %w", err)
		}
		conf.RootCAs = pool
	}
	if c.CertFile == "" && c.KeyFile == "" {
		return conf, nil
	}
	if _, err := c.certificate(nil); err != nil {
		return nil, err
	}
	conf.GetClientCertificate = c.certificate
	return conf, nil
}

func (c Client) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return read(c.CertFile, c.KeyFile)
}

// Server is a TLS listener; without CertFile it speaks in clear.
type Server struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"` // ask clients for a certificate by this CA
}

// Enabled reports whether the listener speaks TLS.
func (s Server) Enabled() bool { return s.CertFile != "" }

// Config returns the listener's TLS settings, nil if it speaks in clear. With
// ClientCAFile clients are asked for a certificate as auth says.
func (s Server) Config(auth tls.ClientAuthType) (*tls.Config, error) {
	if !s.Enabled() {
		return nil, nil
	}
	r := &reloader{cert: s.CertFile, key: s.KeyFile}
	if _, err := r.certificate(nil); err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.certificate}
	if s.ClientCAFile != "" {
		pool, err := Pool(s.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("client_ca_file %w", err)
		}
		conf.ClientCAs, conf.ClientAuth = pool, auth
	}
	return conf, nil
}

// Pool reads the certificates of a PEM file.
func Pool(file string) (*x509.CertPool, error) {
	pem, odd, err := readPEM(file)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, cmp.Or(odd, fmt.Errorf("%s holds no certificate in PEM form", file))
	}
	return pool, nil
}

// maxPEM bounds a file of certificates; those that systems trust have a fifth of it.
const maxPEM = 1 << 20

// readPEM reads a file without its byte order mark, before which no PEM block may
// stand. odd is how it is encoded, if not as UTF-8; around the blocks that harms
// nobody.
func readPEM(file string) (pem []byte, odd, err error) {
	pem, err = textfile.Read(file, maxPEM)
	if err != nil {
		return nil, nil, err
	}
	text, line, odd := textfile.UTF8(pem)
	if odd != nil {
		return pem, fmt.Errorf("%s:%d: %w", file, line, odd), nil
	}
	return text, nil, nil
}

func read(cert, key string) (*tls.Certificate, error) {
	if cert == "" || key == "" {
		return nil, errors.New("cert_file and key_file belong together, one of them is missing")
	}
	pair, err := Pair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	return pair, nil
}

// Pair reads a certificate and its key.
func Pair(cert, key string) (*tls.Certificate, error) {
	certPEM, odd1, err1 := readPEM(cert)
	keyPEM, odd2, err2 := readPEM(key)
	if err := cmp.Or(err1, err2); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, cmp.Or(odd1, odd2, err)
	}
	return &pair, nil
}
