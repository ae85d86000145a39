package syncapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/order"
)

// Limits of one call.
const (
	// Timeout is how long a whole sync may take.
	Timeout = 30 * time.Second
	// maxAnswer bounds an answer after gunzip: fifteen hundred events or asks,
	// each with the largest waybill data that scan.Waybill.Validate lets pass,
	// stay below it.
	maxAnswer = 16 << 20
	// What is kept of an answer is bounded; WeChat's tokens have 512 characters.
	maxName   = 128
	maxToken  = 4 << 10
	maxReason = 600
	// maxRetryAfter bounds what a header can make an agent wait.
	maxRetryAfter = time.Hour
	// maxFailure bounds what is read of an answer that is no 200.
	maxFailure = 4<<10 + directive.MaxBytes
)

// Options of a Client.
type Options struct {
	URL   string         // the centre's base URL, http or https
	Token secret.Text    // the depot's credential; "" with a client certificate, or one that Use is given
	TLS   tlsfile.Client // central.tls
	// Transport replaces the client's own, in tests; TLS is then unused.
	Transport http.RoundTripper
}

// Credential is what a depot shows with each sync.
type Credential interface {
	// Token is the bearer token, "" with a client certificate. It may have to call
	// the centre for one.
	Token(ctx context.Context) (secret.Text, error)
	// Refused is told that the centre did not take it, and reports whether there may
	// be another.
	Refused(token secret.Text) (again bool)
}

// static is a token that stands in the configuration.
type static secret.Text

func (s static) Token(context.Context) (secret.Text, error) { return secret.Text(s), nil }
func (static) Refused(secret.Text) bool                     { return false }

// Client calls the centre. It may be used by several goroutines at once.
type Client struct {
	base       *url.URL
	credential Credential
	http       *http.Client
}

// NewClient makes a client. An error says which option is wrong.
func NewClient(o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimSpace(o.URL))
	if err != nil {
		return nil, errors.New("central.url is no URL") // err would repeat it, with a password in it
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("central.url %q: want http://host or https://host", u.Redacted())
	}
	if u.User != nil {
		return nil, errors.New("central.url: no user and password here; the credential is central.token")
	}
	transport := o.Transport
	if transport == nil {
		if transport, err = newTransport(o.TLS); err != nil {
			return nil, err
		}
	}
	return &Client{
		base: u, credential: static(o.Token),
		http: &http.Client{Transport: transport, CheckRedirect: keepRedirect},
	}, nil
}

// Use replaces Options.Token, before the first sync.
func (c *Client) Use(credential Credential) { c.credential = credential }

// keepRedirect returns a redirect as the answer: the credential goes nowhere
// but to the configured address.
func keepRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// newTransport is tuned for one peer that is called every few seconds.
func newTransport(files tlsfile.Client) (*http.Transport, error) {
	conf, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("central.tls: %w", err)
	}
	// A half-dead line, common behind 4G, is found by TCP keep-alive or, where
	// the build has HTTP/2 and the centre offers it, by its pings.
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 2,
	}}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: Timeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          4,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}, nil
}

// Sync makes one call. It is idempotent, and is made again once by the HTTP
// client where a kept connection turned out to be dead. Every error is an
// *Error.
func (c *Client) Sync(ctx context.Context, r *Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	body, err := encodeRequest(r)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("encode sync request: %w", err)}
	}
	for first := true; ; first = false {
		token, err := c.credential.Token(ctx)
		if err != nil {
			return nil, asError(err)
		}
		answer, e := c.try(ctx, body, token)
		if e == nil {
			return answer, nil
		}
		if e.Status != http.StatusUnauthorized || !c.credential.Refused(token) || !first {
			return nil, e
		}
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return nil, &Error{Err: err}
		}
	}
}

// asError is err as an *Error.
func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Err: err}
	}
	return e
}

// try makes the call once.
func (c *Client) try(ctx context.Context, body io.Reader, token secret.Text) (*Response, *Error) {
	resp, err := c.post(ctx, body, token)
	if err != nil {
		return nil, &Error{Err: redact(err, token)}
	}
	defer resp.Body.Close()
	return read(resp, token)
}

func (c *Client) post(ctx context.Context, body io.Reader, token secret.Text) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(Path).String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	authorize(req, token)
	// Not sent, but tells net/http that the call may be made again.
	req.Header["Idempotency-Key"] = []string{}
	return c.http.Do(req)
}

func authorize(req *http.Request, token secret.Text) {
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
}

// read returns the answer of a 200 and an *Error for everything else.
func read(resp *http.Response, token secret.Text) (*Response, *Error) {
	if resp.StatusCode != http.StatusOK {
		return nil, failure(resp, token)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("read sync answer: %w", redact(err, token))}
	}
	answer, err := decodeResponse(body)
	if err != nil {
		return nil, &Error{Status: resp.StatusCode, Err: err}
	}
	return answer, nil
}

// failure reads an answer that is no 200; a body that is no Failure is told by
// its status alone. ours are words of it that are ours.
func failure(resp *http.Response, token secret.Text, ours ...string) *Error {
	e := &Error{Status: resp.StatusCode, RetryAfter: wait.RetryAfter(resp.Header, maxRetryAfter)}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxFailure))
	var f Failure
	if err == nil && json.Unmarshal(body, &f) == nil {
		e.Message = clean(f.Error, token, ours...)
		if resp.StatusCode == http.StatusConflict {
			e.Directives = f.Directives.Bounded()
		}
	}
	return e
}

// decodeResponse reads the body of a 200.
func decodeResponse(body []byte) (*Response, error) {
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("sync answer is larger than %d bytes", maxAnswer)
	}
	if n := LongestList(body); n > MaxList {
		return nil, fmt.Errorf("sync answer has a list of %d entries, at most %d are taken", n, MaxList)
	}
	var r Response
	if err := json.Unmarshal(body, &r); err != nil {
		// What json says may quote the content: only its kind is told.
		return nil, errors.New("sync answer is not the JSON of a centre: is central.url right?")
	}
	if r.V != Version {
		return nil, fmt.Errorf("centre speaks version %d of the sync API, this agent speaks %d", r.V, Version)
	}
	if r.StoreID == "" || r.Process == "" {
		return nil, errors.New("sync answer lacks store_id or process: is central.url right?")
	}
	if len(r.StoreID) > maxName || len(r.Process) > maxName || r.Token != nil && len(r.Token.Value)+len(r.Token.Generation) > maxToken {
		return nil, errors.New("sync answer has a store_id, process or token longer than any: is central.url right?")
	}
	r.Directives = r.Directives.Bounded()
	r.WeChat.State, r.WeChat.Reason = clean(r.WeChat.State, ""), clean(r.WeChat.Reason, "")
	r.Orders, r.Look = order.Bounded(r.Orders), r.Look[:min(len(r.Look), order.MaxLooks)]
	for i := range r.Answers {
		r.Answers[i].Reason = clean(r.Answers[i].Reason, "")
	}
	return &r, nil
}
