package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"scanrelay/configs/nearest"
	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
)

// checker says what is wrong with values that could be decoded.
type checker struct {
	*decoder
	undone map[string]bool // keys that could not be decoded
	served []served
}

// served is an address to listen on; an empty host is every address.
type served struct{ key, host, port string }

// bad reports what is wrong with a value, unless it could not even be decoded.
func (c *checker) bad(key, format string, args ...any) {
	if !c.skip(key) {
		c.fail(c.placeOf(key), key, format, args...)
	}
}

// warn reports what works but is perhaps not meant.
func (c *checker) warn(key, format string, args ...any) {
	if c.skip(key) || len(c.found) >= maxProblems {
		return
	}
	p := c.placeOf(key)
	c.found = append(c.found, Problem{File: p.file, Line: p.line, Key: p.as(key), Text: fmt.Sprintf(format, args...), Warning: true})
}

// skip reports whether key or one above it could not be decoded: what else there
// is to say about it would only follow from that.
func (c *checker) skip(key string) bool {
	for ; key != ""; key = key[:max(0, strings.LastIndexAny(key, ".["))] {
		if c.undone[key] {
			return true
		}
	}
	return false
}

// required reports whether s is there.
func (c *checker) required(key, s string) bool {
	if s == "" {
		c.bad(key, "is required")
	}
	return s != ""
}

func (c *checker) oneOf(key, value string, known []string) {
	if !slices.Contains(known, value) {
		c.bad(key, "%s; it may be %s", nearest.Unknown("value", value, known), strings.Join(known, ", "))
	}
}

func (c *checker) atLeast(key string, value, least time.Duration) {
	if value < least {
		c.bad(key, "must be at least %s, not %s", least, value)
	}
}

func (c *checker) number(key string, value, least, most int) {
	if value < least || value > most {
		c.bad(key, "must lie between %d and %d, not be %d", least, most, value)
	}
}

// tryDataDir tries whether data_dir is a folder that can be written, or can be made. What
// this user may not do the service's may; a full disk is no mistake in a file.
func (c *checker) tryDataDir(dir string) {
	const key = "data_dir"
	if dir == "" {
		return
	}
	at := filepath.Clean(dir) // what there is of it already
	info, err := os.Stat(at)
	for ; err != nil && at != filepath.Dir(at); info, err = os.Stat(at) {
		if _, dangles := os.Lstat(at); dangles == nil {
			c.bad(key, "%s leads to nothing that there is: %s", at, why(err))
			return
		}
		at = filepath.Dir(at)
	}
	if err == nil && !info.IsDir() {
		c.bad(key, "%s is no folder", at)
		return
	}
	trial, err := os.MkdirTemp(at, ".check-")
	switch {
	case err == nil:
		_ = os.Remove(trial) // it is empty
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		c.warn(key, "%s cannot be written by this user: the service's must be able to", at)
	default:
		c.bad(key, "%s cannot be written: %s", at, why(err))
	}
}

// why is an error without the call and the path.
func why(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// url checks an address with one of schemes; nil if it is wrong.
func (c *checker) url(key, text string, schemes ...string) *url.URL {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "" && u.Opaque != "":
		c.bad(key, "is no address; write one as %s://host:port", schemes[0])
	case !slices.Contains(schemes, u.Scheme):
		c.bad(key, "%s; it may be %s", nearest.Unknown("scheme", u.Scheme, schemes), strings.Join(schemes, ", "))
	case u.Hostname() == "":
		c.bad(key, "has no host; write one as %s://host:port", schemes[0])
	case !portOK(u.Port()):
		c.bad(key, "port %s is none; it must lie between 1 and 65535", u.Port())
	case u.User != nil:
		c.bad(key, "must not hold a user or password; they have keys of their own")
	case u.Fragment != "" || u.RawQuery != "":
		c.bad(key, "must end after its path")
	default:
		return u
	}
	return nil
}

func portOK(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n > 0 && n < 65536
}

// listen checks host:port, where an empty host is every address, and that nothing else
// of the file listens there.
func (c *checker) listen(key, addr string) {
	host, port, err := net.SplitHostPort(addr)
	n, err2 := strconv.Atoi(port)
	switch {
	case err != nil:
		c.bad(key, "%q is no address to listen on; write one as 127.0.0.1:8080", addr)
	case err2 != nil || n < 0 || n > 65535:
		c.bad(key, "port %q is none; it must lie between 0 and 65535 (0: any free one)", port)
	case strings.ContainsAny(host, "/ "):
		c.bad(key, "%q is no host", host)
	case n > 0:
		c.listenOnce(key, addr, host, port)
	}
}

func (c *checker) listenOnce(key, addr, host, port string) {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = ""
	} else if host == "localhost" {
		host = "127.0.0.1"
	}
	for _, s := range c.served {
		if s.port == port && (s.host == host || s.host == "" || host == "") {
			c.bad(key, "%s is taken by %s: give each a port of its own", addr, s.key)
			return
		}
	}
	c.served = append(c.served, served{key, host, port})
}

// token checks a bearer token: it travels in a header.
func (c *checker) token(key string, s secret.Text) {
	for _, r := range s.Reveal() {
		if r <= ' ' || r > '~' {
			c.bad(key, "holds a character that no token can have: only visible ASCII travels in a header")
			return
		}
	}
	switch text := s.Reveal(); {
	case text == "":
	case strings.Contains(strings.ReplaceAll(strings.ToLower(text), "-", ""), "changeme"):
		c.warn(key, "is the example's, which everybody knows: make one with `openssl rand -hex 24`")
	case len(text) < weakToken:
		c.warn(key, "has %d characters only and can be guessed: make one with `openssl rand -hex 24`", len(text))
	}
}

// weakToken is how many characters a token has that is not made up by hand.
const weakToken = 16

// exposed warns of a file with secrets that everyone on the machine may read.
func (c *checker) exposed(key, path string) {
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o007 != 0 {
		c.warn(key, "is a secret in a file that every user of this machine can read: chmod o= %s", path)
	}
}

// inClear warns of a listener that others reach without TLS.
func (c *checker) inClear(key, addr string) {
	if host, _, err := net.SplitHostPort(addr); err == nil && !secret.ThisMachine(host) {
		c.warn(key, "%s is not this machine alone and there is no TLS: tokens and personal data go over the wire in clear, unless a TLS proxy alone reaches it", addr)
	}
}

// LogLevels are the levels that a log may have.
var LogLevels = []string{"debug", "info", "warn", "error"}

func (c *checker) log(l Log) {
	c.oneOf("log.level", l.Level, LogLevels)
	c.oneOf("log.format", l.Format, []string{"auto", "text", "json"})
}

// clientTLS checks the files of a TLS client.
func (c *checker) clientTLS(key string, t tlsfile.Client) {
	if t.CAFile != "" {
		if _, err := tlsfile.Pool(t.CAFile); err != nil {
			c.bad(key+".ca_file", "%s", err)
		}
	}
	c.keyPair(key, t.CertFile, t.KeyFile)
}

// serverTLS checks the files of a TLS server.
func (c *checker) serverTLS(key string, t tlsfile.Server) {
	if t.ClientCAFile != "" {
		if _, err := tlsfile.Pool(t.ClientCAFile); err != nil {
			c.bad(key+".client_ca_file", "%s", err)
		}
		if t.CertFile == "" {
			c.bad(key+".client_ca_file", "needs %s.cert_file and %[1]s.key_file: only TLS can ask for certificates", key)
		}
	}
	c.keyPair(key, t.CertFile, t.KeyFile)
}

func (c *checker) keyPair(key, cert, private string) {
	switch {
	case cert == "" && private == "":
		return
	case private == "":
		c.bad(key+".key_file", "is required with cert_file")
		return
	case cert == "":
		c.bad(key+".cert_file", "is required with key_file")
		return
	}
	unreadable := false
	for name, path := range map[string]string{".cert_file": cert, ".key_file": private} {
		if err := readable(path); err != nil {
			c.bad(key+name, "cannot be read: %s", err)
			unreadable = true
		}
	}
	if unreadable {
		return
	}
	pair, err := tlsfile.Pair(cert, private)
	if err != nil {
		c.bad(key+".cert_file", "is no pair with key_file: %s", strings.TrimPrefix(err.Error(), "tls: "))
		return
	}
	c.exposed(key+".key_file", private)
	// No error: with an expired certificate a depot still scans, and a start must
	// not fail for what the day before was good.
	switch now := time.Now(); {
	case pair.Leaf == nil:
	case now.After(pair.Leaf.NotAfter):
		c.warn(key+".cert_file", "expired on %s: whoever checks certificates refuses the connection; renew it", pair.Leaf.NotAfter.Format(time.DateOnly))
	case now.Before(pair.Leaf.NotBefore):
		c.warn(key+".cert_file", "is valid from %s on only: renew it, or put this machine's clock right", pair.Leaf.NotBefore.Format(time.DateOnly))
	case now.Add(certificateSoon).After(pair.Leaf.NotAfter):
		c.warn(key+".cert_file", "expires on %s: renew it", pair.Leaf.NotAfter.Format(time.DateOnly))
	}
}

// certificateSoon is how long before its end a certificate is to be renewed.
const certificateSoon = 7 * 24 * time.Hour
