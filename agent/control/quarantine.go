package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Replayed tells what became of the quarantine that was put through the current
// mapping.
type Replayed struct {
	Entries   int `json:"entries"`   // that were looked at
	Left      int `json:"left"`      // of them left the quarantine
	Events    int `json:"events"`    // newly stored from them
	Duplicate int `json:"duplicate"` // recognised, not stored again
	Ignored   int `json:"ignored"`   // reads that are none
	Remaining int `json:"remaining"` // entries that are still not understood
}

func (l *local) replay(w http.ResponseWriter, r *http.Request) {
	if l.Replay == nil {
		fail(w, http.StatusConflict, errors.New("this agent has no quarantine"))
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it may take its time
	done, err := l.Replay(r.Context())
	if done.Left > 0 {
		l.Logger.Info("quarantine replayed by an operator", "left", done.Left, "events", done.Events, "remaining", done.Remaining)
	}
	if err != nil {
		fail(w, http.StatusConflict, err)
		return
	}
	writeJSON(w, http.StatusOK, done)
}

// listen streams what devices publish for as long as the reader stays.
func (l *local) listen(w http.ResponseWriter, r *http.Request) {
	if l.Listen == nil {
		fail(w, http.StatusConflict, errors.New("this agent's devices publish to an external broker"))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	line := func(v any) error {
		err := control.SetWriteDeadline(time.Now().Add(30 * time.Second))
		if err == nil && v != nil {
			err = encoder.Encode(v)
		}
		return errors.Join(err, control.Flush())
	}
	if line(nil) == nil { // the headers: it listens
		_ = control.SetReadDeadline(time.Time{})
		_ = l.Listen(r.Context(), line) // the reader is gone
	}
}

// Replay puts the quarantine through the mapping that the agent uses now.
func (c *Client) Replay(ctx context.Context) (done Replayed, err error) {
	patient := *c
	patient.http = &http.Client{Transport: patientTransport(c.http.Transport)}
	defer patient.http.CloseIdleConnections()
	resp, err := patient.do(ctx, http.MethodPost, "/v1/quarantine/replay", nil)
	if err != nil {
		return done, err
	}
	defer resp.Body.Close()
	return done, decodeBody(resp, &done)
}

// patientTransport waits for an answer as long as it takes.
func patientTransport(t http.RoundTripper) http.RoundTripper {
	if tr, ok := t.(*http.Transport); ok {
		tr = tr.Clone()
		tr.ResponseHeaderTimeout = 0
		return tr
	}
	return t
}

// Listen calls fn with each message that devices publish at the agent's broker,
// as JSON, until ctx ends; ready is called once the agent listens for us.
func (c *Client) Listen(ctx context.Context, ready func(), fn func(json.RawMessage) error) error {
	err := c.stream(ctx, "/v1/listen", url.Values{}, ready, fn)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("the agent has stopped")
	}
	return err
}
