package wechat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
)

// call is one call of WeChat's API.
type call struct {
	api    string
	path   string
	token  secret.Text // sent in the URL; stable_token needs none
	limit  time.Duration
	body   any
	hidden []secret.Text // further secrets that no error may show
}

// do makes the call and decodes WeChat's answer into out. Its error is an
// *Error free of secrets, or nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	if k.token == "" && k.api != APIStableToken {
		return refuse(k, ErrNoToken)
	}
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
	body, err := EncodeJSON(k.body)
	if err != nil {
		return &Error{Err: fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	limited, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	r, err := c.post(limited, k, body)
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("no answer within %v: %w", k.limit, context.DeadlineExceeded)
		}
		return &Error{Status: r.status, Sent: r.sent, Err: err}
	}
	if r.status != http.StatusOK {
		return &Error{Status: r.status, Sent: true, RetryAfter: wait.RetryAfter(r.header, maxRetryAfter)}
	}
	return decode(r.body, out)
}

// maxRetryAfter bounds what a header can make us wait.
const maxRetryAfter = 24 * time.Hour

// response is what came back, as far as anything did.
type response struct {
	sent   bool // see Error.Sent
	status int
	header http.Header
	body   []byte
}

// post sends one request and reads its answer.
func (c *Client) post(ctx context.Context, k call, body []byte) (response, error) {
	var t trace
	domain := c.domains.pick()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, t.hooks()), http.MethodPost, domain+k.target(), bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "scanrelay")
	resp, err := c.http.Do(req)
	if !errors.Is(err, context.Canceled) {
		c.domains.report(domain, !t.connectFailed())
	}
	if err != nil {
		return response{sent: t.sent()}, withoutURL(err)
	}
	defer resp.Body.Close()
	c.hear(resp.Header)
	answer, err := readAnswer(resp.Body)
	return response{sent: true, status: resp.StatusCode, header: resp.Header, body: answer}, err
}

// target is the path with the token, which WeChat wants in the URL.
func (k call) target() string {
	if k.token == "" {
		return k.path
	}
	return k.path + "?access_token=" + url.QueryEscape(k.token.Reveal())
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

// maxAnswer bounds an answer in bytes; real ones have a few hundred.
const maxAnswer = 64 << 10

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

// EncodeJSON is json.Marshal without HTML escapes: WeChat gets the text as it is.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
