package wechat

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// WeChat's domains; the second is for disasters (wechat/README.md, Calls).
const (
	DefaultBaseURL     = "https://api.weixin.qq.com"
	DefaultFallbackURL = "https://api2.weixin.qq.com"
)

// Options configures a Client; the zero value is for the real WeChat.
type Options struct {
	// BaseURL is where WeChat's API is; "": DefaultBaseURL.
	BaseURL string
	// FallbackURL is used after repeated failures to connect. "":
	// DefaultFallbackURL where BaseURL is the default, else none.
	FallbackURL string
	Transport   http.RoundTripper // nil: NewTransport()
	Logger      *slog.Logger      // nil: logs nothing
	Now         func() time.Time  // nil: time.Now; decides when the first domain is tried again
}

// Client calls WeChat's API. It is safe for concurrent use and holds no token.
type Client struct {
	http    *http.Client
	domains *domains
	log     *slog.Logger
	heard   atomic.Pointer[heard]
}

// heard is a time that WeChat told, and when it did.
type heard struct{ told, at time.Time }

// NewClient makes a Client. It connects to nothing yet.
func NewClient(o Options) (*Client, error) {
	base, err := checkBase("base_url", cmp.Or(o.BaseURL, DefaultBaseURL))
	if err != nil {
		return nil, err
	}
	fallback := o.FallbackURL
	if fallback == "" && base == DefaultBaseURL {
		fallback = DefaultFallbackURL
	}
	if fallback != "" {
		if fallback, err = checkBase("fallback_url", fallback); err != nil {
			return nil, err
		}
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{
		http:    &http.Client{Transport: o.Transport, CheckRedirect: followNone},
		domains: &domains{base: base, fallback: fallback, log: o.Logger, now: o.Now},
		log:     o.Logger,
	}, nil
}

// CloseIdleConnections closes the connections that no call uses.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Time is what WeChat's clock shows now, by its last answer; zero: none came yet.
func (c *Client) Time() time.Time {
	h := c.heard.Load()
	if h == nil {
		return time.Time{}
	}
	return h.told.Add(time.Since(h.at))
}

// hear takes the time from an answer's header.
func (c *Client) hear(header http.Header) {
	if told, err := http.ParseTime(header.Get("Date")); err == nil {
		c.heard.Store(&heard{told: told, at: time.Now()})
	}
}

// followNone: a redirect would carry the token to whoever is named in it.
func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// checkBase returns raw without a slash at its end, or what is wrong with it.
func checkBase(key, raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s is no URL: %w", key, Redact(err))
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", fmt.Errorf("%s must look like %s", key, DefaultBaseURL)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return "", fmt.Errorf("%s must have no user, query or fragment", key)
	}
	return strings.TrimRight(raw, "/"), nil
}
