package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"scanrelay/configs/serve"
)

// rejectedID begins the id of what is in quarantine; its number there follows.
const rejectedID = StateRejected + "-"

// RejectedID is the id of the entry with this number in the quarantine.
func RejectedID(seq uint64) string { return rejectedID + strconv.FormatUint(seq, 10) }

// parseRejected returns an entry's number in the quarantine.
func parseRejected(id string) (uint64, error) {
	digits, ok := strings.CutPrefix(id, rejectedID)
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no id of the quarantine: want one such as %s7", id, rejectedID)
	}
	return n, nil
}

// CheckRejected says which of ids is none of the quarantine.
func CheckRejected(ids []string) error {
	_, err := parseAllRejected(ids)
	return err
}

func parseAllRejected(ids []string) (seqs []uint64, err error) {
	for _, id := range ids {
		n, err := parseRejected(id)
		if err != nil {
			return nil, err
		}
		seqs = append(seqs, n)
	}
	return seqs, nil
}

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
		serve.Fail(w, http.StatusConflict, "this agent has no quarantine")
		return
	}
	seqs, err := replayOf(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	l.stream(w, true, func(line func(any) error) error { // it may take its time
		done, err := l.Replay(r.Context(), seqs)
		if done.Left > 0 {
			l.Logger.Info("quarantine replayed by an operator", "left", done.Left, "events", done.Events, "remaining", done.Remaining)
		}
		if err != nil && done.Entries > 0 {
			return fmt.Errorf("%d entries done, %d events stored, but %w", done.Entries, done.Events, err)
		}
		if err != nil {
			return err
		}
		return line(done)
	})
}

// replayOf reads which entries are to be replayed; none: all of them.
func replayOf(body io.Reader) ([]uint64, error) {
	var c change
	if err := json.NewDecoder(body).Decode(&c); err != nil {
		return nil, err
	}
	if c.All == (len(c.IDs) > 0) {
		return nil, errors.New("a replay is of some entries or of all")
	}
	return parseAllRejected(c.IDs)
}

// listen streams what devices publish for as long as the reader stays.
func (l *local) listen(w http.ResponseWriter, r *http.Request) {
	if l.Listen == nil {
		serve.Fail(w, http.StatusConflict, "this agent's devices publish to an external broker")
		return
	}
	l.stream(w, true, func(line func(any) error) error {
		_ = l.Listen(r.Context(), line) // the reader is gone
		return nil
	})
}

// Replay puts entries of the quarantine through the mapping that the agent uses
// now; without ids all of them.
func (c *Client) Replay(ctx context.Context, ids ...string) (done Replayed, err error) {
	body, err := json.Marshal(change{IDs: ids, All: len(ids) == 0})
	if err != nil {
		return done, err
	}
	err = c.stream(ctx, http.MethodPost, "/v1/quarantine/replay", bytes.NewReader(body), func() {}, func(line json.RawMessage) error {
		return json.Unmarshal(line, &done)
	})
	return done, err
}

// Listen calls fn with each message that devices publish at the agent's broker,
// as JSON, until ctx ends; ready is called once the agent listens for us.
func (c *Client) Listen(ctx context.Context, ready func(), fn func(json.RawMessage) error) error {
	err := c.stream(ctx, http.MethodGet, "/v1/listen", nil, ready, fn)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("the agent has stopped")
	}
	return err
}
