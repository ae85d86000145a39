package secret

import (
	"net"
	"net/url"
)

// MayGoTo reports whether a secret, or a proof, may go to an address: by https, or
// within this machine.
func MayGoTo(u *url.URL) bool { return u.Scheme == "https" || ThisMachine(u.Hostname()) }

// ThisMachine reports whether a host is this machine under any name.
func ThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
