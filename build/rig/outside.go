package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Status is what the rig reads of `scanrelay status --json`.
type Status struct {
	Central struct {
		Connected bool `json:"connected"`
	} `json:"central"`
	WeChat struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"wechat"`
	Clock  string `json:"clock"`
	Intake struct {
		Received  uint64 `json:"received"`
		Duplicate uint64 `json:"duplicate"`
		Ignored   uint64 `json:"ignored"`
		Rejected  uint64 `json:"rejected"`
	} `json:"intake"`
	MQTT struct {
		Clients   int    `json:"clients"`
		Refused   uint64 `json:"refused"`
		Broken    uint64 `json:"broken"`
		Throttled int    `json:"clients_throttled"`
	} `json:"mqtt"`
	Pending struct {
		Unsynced        uint64 `json:"unsynced"`
		AwaitingWaybill uint64 `json:"awaiting_waybill"`
		ToPush          uint64 `json:"to_push"`
	} `json:"pending"`
	Outcome map[string]uint64 `json:"outcome"`
	Store   struct {
		Full bool `json:"full"`
	} `json:"store"`
}

// Waiting returns how many events have no outcome yet.
func (s Status) Waiting() uint64 {
	return s.Pending.Unsynced + s.Pending.AwaitingWaybill + s.Pending.ToPush
}

// Finished returns how many events have one.
func (s Status) Finished() (n uint64) {
	for _, v := range s.Outcome {
		n += v
	}
	return n
}

// Line is what the rig reads of a line of `scanrelay events --json`.
type Line struct {
	ID        string `json:"id"`
	EventID   string `json:"event_id"`
	WaybillID string `json:"waybill_id"`
	State     string `json:"state"`
	Attempts  int    `json:"attempts"`
	LastError string `json:"last_error"`
	Topic     string `json:"topic"`
	Payload   []byte `json:"payload"`
}

// Status asks the agent over HTTP.
func (s *Site) Status() (Status, error) {
	var st Status
	code, body, err := s.get("http://" + s.AgentHTTP + "/api/status")
	if err != nil {
		return st, err
	}
	if code != http.StatusOK {
		return st, fmt.Errorf("GET /api/status: HTTP %d: %.200s", code, body)
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return st, fmt.Errorf("decode status: %w", err)
	}
	return st, nil
}

// Metric asks a role at its address for a metric; 0: there is none.
func (s *Site) Metric(addr, name string) float64 {
	s.t.Helper()
	code, body, err := s.get("http://" + addr + "/metrics")
	if err != nil || code != http.StatusOK {
		s.t.Fatalf("GET /metrics: HTTP %d, %v", code, err)
	}
	for line := range strings.Lines(string(body)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				s.t.Fatalf("metric %s: %v", line, err)
			}
			return v
		}
	}
	return 0
}

// AwaitStatus waits until the agent's status is as done wants it.
func (s *Site) AwaitStatus(what string, done func(Status) bool) Status {
	s.t.Helper()
	var last Status
	Await(s.t, what, func() (bool, string) {
		st, err := s.Status()
		if err != nil {
			return false, err.Error()
		}
		last = st
		text, _ := json.Marshal(st)
		return done(st), string(text)
	})
	return last
}

// Drain waits until the agent has stored at least as many events as the ledger
// has acknowledgements and each has an outcome.
func (s *Site) Drain() Status {
	s.t.Helper()
	want := uint64(s.Ledger.Len())
	return s.AwaitStatus(fmt.Sprintf("%d events to end", want), func(st Status) bool {
		return st.Intake.Received >= want && st.Waiting() == 0
	})
}

// Events returns all lines of `scanrelay events --json`.
func (s *Site) Events(args ...string) []Line {
	s.t.Helper()
	out, stderr, code := s.Run(append([]string{"events", "--json", "-c", s.AgentFile}, args...)...)
	if code != 0 {
		s.t.Fatalf("scanrelay events: exit code %d: %s", code, stderr)
	}
	var lines []Line
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var l Line
		err := d.Decode(&l)
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			s.t.Fatalf("decode line %d of scanrelay events: %v", len(lines)+1, err)
		}
		lines = append(lines, l)
	}
}

// Run runs a command of the binary to its end.
func (s *Site) Run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), s.env...)
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("run scanrelay %v: %v", args, err)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("scanrelay %v did not end: %v", args, ctx.Err())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Import gives the parcels' waybill data to the centre and their phones to
// WeChat. Those whose data comes with the scan are only made known to WeChat.
func (s *Site) Import(parcels []*Parcel) {
	s.t.Helper()
	var body bytes.Buffer
	enc, n := json.NewEncoder(&body), 0
	flush := func() {
		if n > 0 {
			s.post(body.Bytes(), n)
		}
		body.Reset()
		n = 0
	}
	for _, p := range parcels {
		s.WeChat.Bind(p.Receiver.Phone, p.Bound)
		if p.WithScan {
			continue
		}
		if err := enc.Encode(waybillData{p.ID, p.CreateTime, p.Sender, p.Receiver}); err != nil {
			s.t.Fatalf("encode waybill: %v", err)
		}
		if n++; n == 500 {
			flush()
		}
	}
	flush()
}

// post sends waybill data, and again where the centre says that it cannot take it
// now.
func (s *Site) post(body []byte, n int) {
	s.t.Helper()
	var answer struct {
		Stored   int               `json:"stored"`
		Rejected []json.RawMessage `json:"rejected"`
	}
	Await(s.t, "the centre to take waybill data", func() (bool, string) {
		code, text := s.Ask(http.MethodPost, "/v1/waybills", AdminToken, bytes.NewReader(body), "Content-Type", "application/x-ndjson")
		if code == http.StatusServiceUnavailable {
			return false, string(text)
		}
		if err := json.Unmarshal(text, &answer); err != nil || code != http.StatusOK {
			s.t.Fatalf("import waybills: HTTP %d, %v", code, err)
		}
		return true, ""
	})
	if answer.Stored != n || len(answer.Rejected) != 0 {
		s.t.Fatalf("import %d waybills: stored %d, rejected %s", n, answer.Stored, answer.Rejected)
	}
}

func (s *Site) get(url string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+AdminToken) // central's metrics want it, nobody else looks
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return resp.StatusCode, body, err
}

// Ask makes any call of the centre with a bearer token.
func (s *Site) Ask(method, path, token string, body io.Reader, header ...string) (int, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.CentralHTTP+path, body)
	if err != nil {
		s.t.Fatalf("make request: %v", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		s.t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	return resp.StatusCode, answer
}
