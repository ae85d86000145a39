package wechat

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// Limits of a connection. Whole calls have their own, in api.go.
const (
	connectLimit  = 5 * time.Second
	tlsLimit      = 5 * time.Second
	headerLimit   = 25 * time.Second // as long as the longest call
	idleLimit     = 90 * time.Second
	pingAfter     = 15 * time.Second // silence after which a connection is tested
	pingLimit     = 10 * time.Second // after which it is given up
	pings         = 2
	maxIdle       = 64
	maxHeaderSize = 32 << 10
)

// NewTransport returns the transport that a Client uses by default: connections
// are kept, HTTP/2 is used where offered (the gateway build leaves it out), the
// proxy comes from the environment, every step has a limit. A half-dead
// connection, common behind 4G, is found by TCP keep-alive or HTTP/2 pings.
//
// It sends a POST again by itself only where not one byte of it had been
// written, so it never makes a push happen twice.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: connectLimit, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: pingAfter, Interval: pingLimit / pings, Count: pings,
	}}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsLimit,
		ResponseHeaderTimeout:  headerLimit,
		IdleConnTimeout:        idleLimit,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		MaxResponseHeaderBytes: maxHeaderSize,
		DisableCompression:     true, // answers are a few hundred bytes
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLimit},
	}
}
