package wechat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// WeChat's domains (errcodes.md, Domains).
const (
	DefaultBaseURL     = "https://api.weixin.qq.com"
	DefaultFallbackURL = "https://api2.weixin.qq.com"
)

// maxAnswer bounds an answer in bytes; real ones have a few hundred.
const maxAnswer = 64 << 10

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
}

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

// call is one call of WeChat's API.
type call struct {
	api    string
	path   string
	token  Secret // sent in the URL; "" only for stable_token
	limit  time.Duration
	body   any
	hidden []Secret // further secrets that no error may show
}

// do makes the call and decodes WeChat's answer into out. Its error is an
// *Error free of secrets, or nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	started := time.Now()
	err := c.try(ctx, k, out)
	if err != nil {
		clean := hide(append(k.hidden, k.token)...)
		err.API = k.api
		err.Err = redactWith(err.Err, clean)
		err.Msg = cleanMsg(clean(err.Msg))
		c.log.Debug("wechat: call failed", "api", k.api, "class", err.Class(), "error", err, "took", time.Since(started))
		return err
	}
	c.log.Debug("wechat: call done", "api", k.api, "took", time.Since(started))
	return nil
}

func (c *Client) try(ctx context.Context, k call, out any) *Error {
	body, err := encodeJSON(k.body)
	if err != nil {
		return &Error{Err: fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	limited, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	status, header, answer, sent, err := c.post(limited, k, body)
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("no answer within %v: %w", k.limit, context.DeadlineExceeded)
		}
		return &Error{Status: status, Sent: sent, Err: err}
	}
	if status != http.StatusOK {
		return &Error{Status: status, Sent: true, RetryAfter: retryAfter(header)}
	}
	return decode(answer, out)
}

// post sends one request and reads its answer. sent: see Error.Sent.
func (c *Client) post(ctx context.Context, k call, body []byte) (status int, header http.Header, answer []byte, sent bool, err error) {
	var t trace
	domain := c.domains.pick()
	target := domain + k.path
	if k.token != "" {
		target += "?access_token=" + url.QueryEscape(k.token.Reveal())
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, t.hooks()), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "scanrelay")
	resp, err := c.http.Do(req)
	if !errors.Is(err, context.Canceled) {
		c.domains.report(domain, !t.connectFailed())
	}
	if err != nil {
		return 0, nil, nil, t.sent(), withoutURL(err)
	}
	defer resp.Body.Close()
	answer, err = readAnswer(resp.Body)
	return resp.StatusCode, resp.Header, answer, true, err
}

// withoutURL takes an error out of the *url.Error around it, which repeats the
// whole URL before the cause.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func readAnswer(body io.Reader) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("answer is larger than %d bytes", maxAnswer)
	}
	return answer, nil
}

// encodeJSON is json.Marshal without HTML escapes: WeChat gets the text as it is.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// maxRetryAfter bounds what a header can make us wait.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads Retry-After, which is seconds or a date. A date counts from
// the answer's own Date: a gateway's clock may be years off.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		from = time.Now()
	}
	return min(max(at.Sub(from), 0), maxRetryAfter)
}

// trace learns how far a request got. Its hooks may run after the request has
// ended, hence the atomics.
type trace struct{ asked, connected, wrote atomic.Bool }

func (t *trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:      func(string) { t.asked.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { t.connected.Store(true) },
		WroteHeaders: func() { t.wrote.Store(true) },
	}
}

// connectFailed reports that a connection was asked for and not got.
func (t *trace) connectFailed() bool { return t.asked.Load() && !t.connected.Load() }

// sent reports that the request may have left. A transport that tells nothing
// may have sent it.
func (t *trace) sent() bool { return t.wrote.Load() || !t.asked.Load() }
