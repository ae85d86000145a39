package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"syscall"
	"time"

	"scanrelay/configs"
)

// ErrNotRunning: no agent answers at the socket.
var ErrNotRunning = errors.New("the agent is not running")

// SocketPath returns the control socket of a data folder; an error if no socket
// can have that path.
func SocketPath(dataDir string) (string, error) {
	path := filepath.Join(dataDir, configs.SocketName)
	if len(path) > configs.MaxSocketPath {
		return "", fmt.Errorf("%s: a socket's path has at most %d bytes, this one would have %d; choose a shorter data_dir", path, configs.MaxSocketPath, len(path))
	}
	return path, nil
}

// silent is how long an agent that is at work is not silent: it sends empty lines.
const silent = 6 * keepAlive

var errSilent = fmt.Errorf("it has been silent for %s", silent)

// Client talks to a running agent over its control socket.
type Client struct{ http *http.Client }

// Dial finds the agent of a data folder; ErrNotRunning if none answers.
func Dial(ctx context.Context, dataDir string) (*Client, error) {
	path, err := SocketPath(dataDir)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 3 * time.Second}
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx, "", "")
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: permission denied: run this as root or as a member of the agent's group", path)
	case err != nil:
		return nil, fmt.Errorf("call the agent: %w", err)
	}
	_ = conn.Close() // it was only to see who answers
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, ResponseHeaderTimeout: time.Minute}}}, nil
}

// Close gives up the connections.
func (c *Client) Close() error { c.http.CloseIdleConnections(); return nil }

// Running is true: an agent answers.
func (c *Client) Running() bool { return true }

// Status asks what the agent is doing.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.get(ctx, "/v1/status", nil, &s)
	return s, err
}

// Trace asks for a waybill's nodes.
func (c *Client) Trace(ctx context.Context, waybill string, reveal bool) (t Trace, err error) {
	err = c.lines(ctx, "/v1/trace", url.Values{"waybill": {waybill}, "reveal": {flag(reveal)}}, func(line json.RawMessage) error {
		return json.Unmarshal(line, &t)
	})
	return t, err
}

// Events calls fn for each stored event in that state ("" is every one), each
// as the JSON it came in.
func (c *Client) Events(ctx context.Context, state string, reveal bool, fn func(json.RawMessage) error) error {
	return c.lines(ctx, "/v1/events", url.Values{"state": {state}, "reveal": {flag(reveal)}}, fn)
}

// DeadLetters calls fn for each dead letter.
func (c *Client) DeadLetters(ctx context.Context, reveal bool, fn func(json.RawMessage) error) error {
	return c.lines(ctx, "/v1/deadletters", url.Values{"reveal": {flag(reveal)}}, fn)
}

// Retry puts dead letters back, with all every one; it returns how many.
func (c *Client) Retry(ctx context.Context, all bool, ids ...string) (int, error) {
	return c.change(ctx, "/v1/deadletters/retry", change{IDs: ids, All: all})
}

// Discard ends dead letters for good; the reason is recorded.
func (c *Client) Discard(ctx context.Context, reason string, ids ...string) (int, error) {
	return c.change(ctx, "/v1/deadletters/discard", change{IDs: ids, Reason: reason})
}

// Report is a text that a running agent tells of itself.
type Report string

// The reports.
const (
	ReportMetrics    Report = "metrics"
	ReportLog        Report = "log" // its latest lines
	ReportGoroutines Report = "goroutines"
)

// maxReport bounds a report.
const maxReport = 16 << 20

// Report asks for a report.
func (c *Client) Report(ctx context.Context, of Report) ([]byte, error) {
	resp, err := c.do(ctx, http.MethodGet, "/v1/report?of="+string(of), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReport))
	if err != nil {
		return nil, fmt.Errorf("read the agent's answer: %w", err)
	}
	return text, nil
}

// SetLogLevel sets the level of the agent's log for a while.
func (c *Client) SetLogLevel(ctx context.Context, level string, hold time.Duration) error {
	q := url.Values{"level": {level}, "for": {hold.String()}}
	return c.stream(ctx, http.MethodPost, "/v1/log-level?"+q.Encode(), http.NoBody, func() {}, func(json.RawMessage) error { return nil })
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

func (c *Client) change(ctx context.Context, path string, body change) (int, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	var done changed
	err = c.stream(ctx, http.MethodPost, path, bytes.NewReader(data), func() {}, func(line json.RawMessage) error {
		return json.Unmarshal(line, &done)
	})
	return done.Count, err
}

func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	resp, err := c.do(ctx, http.MethodGet, path+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// lines reads NDJSON. A stream that breaks off is an error.
func (c *Client) lines(ctx context.Context, path string, q url.Values, fn func(json.RawMessage) error) error {
	return c.stream(ctx, http.MethodGet, path+"?"+q.Encode(), nil, func() {}, fn)
}

// stream is lines for any call; begun is told when the agent has begun to answer.
func (c *Client) stream(ctx context.Context, method, path string, body io.Reader, begun func(), fn func(json.RawMessage) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(silent, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	begun()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		silence.Reset(silent)
		line, err := in.ReadBytes('\n')
		silence.Stop() // who uses the lines may take as long as it likes
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if context.Cause(ctx) == errSilent {
			err = errSilent
		}
		if err != nil {
			return fmt.Errorf("read the agent's answer: %w", err)
		}
		if len(line) == 1 {
			continue // it is still at work
		}
		var end failure
		if bytes.HasPrefix(line, []byte(`{"error":`)) && json.Unmarshal(line, &end) == nil {
			if end.Error == ErrUnknownWaybill.Error() {
				return ErrUnknownWaybill
			}
			return errors.New(end.Error)
		}
		if err := fn(bytes.TrimRight(line, "\n")); err != nil {
			return err
		}
	}
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call the agent: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var f failure
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&f) != nil || f.Error == "" {
		f.Error = "the agent answered " + resp.Status
	}
	return nil, errors.New(f.Error)
}
