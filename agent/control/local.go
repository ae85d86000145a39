package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"

	"scanrelay/agent/control/lately"
	"scanrelay/agent/control/mapdevice"
	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
	"scanrelay/store"
)

// Options are what both sides serve.
type Options struct {
	Outbox Outbox
	Status func() Status
	// Live and Ready return why not; nil: they are.
	Live, Ready func() error
	// Listen gives each message that devices publish to line until ctx ends or
	// line fails; nil where they publish to a broker of somebody else.
	Listen func(ctx context.Context, line func(any) error) error
	// Replay puts entries of the quarantine, by their numbers, through the
	// mapping in use; without numbers all of them. nil: not here.
	Replay func(ctx context.Context, seqs []uint64) (Replayed, error)
	// LogLevel sets another level of the log for a while; nil: not here.
	LogLevel func(level slog.Level, hold time.Duration)
	// Log is the latest lines of the log; nil: not here.
	Log func() []byte
	// Metrics writes the metrics in Prometheus' text format.
	Metrics func(io.Writer)
	// Hosts are the names under which the TCP side is called, beside
	// addresses and localhost.
	Hosts []string
	// Password opens the TCP side to other machines, and lets people act by its page.
	Password secret.Text
	Desk     *mapdevice.Desk // for mapping devices; nil: not here
	Lately   *lately.Lately  // what happened lately; nil: nobody remembers
	// Wear tells the bytes a day that the medium is given, and how much of its life is
	// used, in per cent; nil: nobody knows.
	Wear func() (perDay int64, lifeUsed int)
	// Chinese says in Chinese what the agent gives as a reason; nil: it stays English.
	Chinese func(english string) string
	Logger  *slog.Logger
}

// maxBody bounds a request of the local API.
const maxBody = 4 << 20

// Local returns the handler for the unix socket. Its paths are between this
// package's Client and Local alone, and may change with any version.
func Local(o Options) http.Handler {
	l := &local{Options: o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { serve.JSON(w, http.StatusOK, o.Status()) })
	mux.HandleFunc("GET /v1/events", l.events)
	mux.HandleFunc("GET /v1/trace", l.trace)
	mux.HandleFunc("GET /v1/deadletters", l.deadLetters)
	mux.HandleFunc("GET /v1/listen", l.listen)
	mux.HandleFunc("GET /v1/report", l.report)
	mux.HandleFunc("POST /v1/log-level", l.logLevel)
	mux.HandleFunc("POST /v1/quarantine/replay", l.replay)
	mux.HandleFunc("POST /v1/deadletters/retry", l.retry)
	mux.HandleFunc("POST /v1/deadletters/discard", l.discard)
	return mux
}

type local struct {
	Options
	masked bool // whoever asks: nothing is revealed
}

// change is the body of a retry or a discard; changed its answer.
type change struct {
	IDs    []string `json:"ids,omitempty"`
	All    bool     `json:"all,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

type changed struct {
	Count int `json:"count"`
}

// failure is the body of an answer that is no 200, and the last line of a
// stream that broke off.
type failure struct {
	Error string `json:"error"`
}

func (l *local) events(w http.ResponseWriter, r *http.Request) {
	state := r.FormValue("state")
	if err := CheckState(state); err != nil {
		serve.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	l.stream(w, false, func(line func(any) error) error {
		return events(r.Context(), l.Outbox, state, l.reveal(r), line)
	})
}

func (l *local) deadLetters(w http.ResponseWriter, r *http.Request) {
	l.stream(w, false, func(line func(any) error) error {
		return deadLetters(r.Context(), l.Outbox, l.reveal(r), line)
	})
}

func (l *local) trace(w http.ResponseWriter, r *http.Request) {
	l.stream(w, false, func(line func(any) error) error {
		t, err := trace(r.Context(), l.Outbox, r.FormValue("waybill"), l.reveal(r))
		if err != nil {
			return err
		}
		return line(t)
	})
}

// maxStacks bounds what is told of goroutines.
const maxStacks = 4 << 20

// report is a text about the process itself.
func (l *local) report(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch of := Report(r.FormValue("of")); {
	case of == ReportMetrics:
		l.Metrics(w)
	case of == ReportLog && l.Log != nil:
		_, _ = w.Write(l.Log()) // who asked may be gone
	case of == ReportGoroutines:
		buf := make([]byte, maxStacks)
		_, _ = w.Write(buf[:runtime.Stack(buf, true)])
	default:
		serve.Fail(w, http.StatusNotFound, "there is no such report")
	}
}

func (l *local) logLevel(w http.ResponseWriter, r *http.Request) {
	var level slog.Level
	hold, err := time.ParseDuration(r.FormValue("for"))
	err = errors.Join(err, level.UnmarshalText([]byte(r.FormValue("level"))))
	switch {
	case l.LogLevel == nil:
		serve.Fail(w, http.StatusNotFound, "this agent's log has one level")
	case err != nil || hold <= 0:
		serve.Fail(w, http.StatusBadRequest, "want a level and for how long")
	default:
		l.Logger.Warn("log level set by an operator", "level", level, "for", hold)
		l.LogLevel(level, hold)
		serve.JSON(w, http.StatusOK, struct{}{})
	}
}

func (l *local) retry(w http.ResponseWriter, r *http.Request) {
	l.change(w, r, func(c change, ids []store.ID) (int, error) {
		if !c.All {
			return l.Outbox.Requeue(r.Context(), ids...)
		}
		var all []store.ID
		err := scanDead(r.Context(), l.Outbox, func(rec *store.Record) error { all = append(all, rec.ID); return nil })
		if err != nil || len(all) == 0 {
			return 0, err
		}
		return l.Outbox.Requeue(r.Context(), all...)
	})
}

func (l *local) discard(w http.ResponseWriter, r *http.Request) {
	l.change(w, r, func(c change, ids []store.ID) (int, error) {
		if c.Reason == "" {
			return 0, errors.New("a discard needs a reason")
		}
		return l.Outbox.Discard(r.Context(), c.Reason, ids...)
	})
}

// change reads a change, does it and records that it was done.
func (l *local) change(w http.ResponseWriter, r *http.Request, do func(change, []store.ID) (int, error)) {
	var c change
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&c); err != nil {
		serve.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	ids := make([]store.ID, len(c.IDs))
	for i, text := range c.IDs {
		id, err := store.ParseID(text)
		if err != nil {
			serve.Fail(w, http.StatusBadRequest, err.Error())
			return
		}
		ids[i] = id
	}
	l.stream(w, false, func(line func(any) error) error {
		n, err := do(c, ids)
		if n > 0 {
			l.Logger.Info("dead letters changed by an operator", "call", r.URL.Path, "count", n)
		}
		switch {
		case err != nil && n > 0:
			return fmt.Errorf("%d done, but %w", n, err)
		case err != nil:
			return err
		}
		return line(changed{n})
	})
}

func (l *local) reveal(r *http.Request) bool { return !l.masked && r.FormValue("reveal") == "1" }

// keepAlive is how often a stream that has nothing to say sends an empty line, and
// readerPatience how long its reader may not read.
const (
	keepAlive      = 10 * time.Second
	readerPatience = 30 * time.Second
)

// stream answers with NDJSON, a line for each call of line; live shows each at
// once. It may take as long as it takes: the first bytes tell that the agent is at
// work, and empty lines that it still is. Who doesn't read is cut off.
func (l *local) stream(w http.ResponseWriter, live bool, produce func(line func(any) error) error) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // there is nothing more to read
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	var mu sync.Mutex // of writing
	write := func(flush bool, what func() error) error {
		mu.Lock()
		defer mu.Unlock()
		_ = control.SetWriteDeadline(time.Now().Add(readerPatience))
		err := what()
		if err == nil && flush {
			err = control.Flush()
		}
		return err
	}
	if write(true, func() error { return nil }) != nil {
		return // the reader is gone
	}
	over, beside := make(chan struct{}), sync.WaitGroup{}
	beside.Go(func() {
		tick := time.NewTicker(keepAlive)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				// A reader that is gone ends the request's context.
				_ = write(true, func() error { _, err := w.Write([]byte("\n")); return err })
			}
		}
	})
	err := produce(func(v any) error { return write(live, func() error { return encoder.Encode(v) }) })
	close(over)
	beside.Wait()
	if err != nil { // if the reader is gone, nobody is left to tell
		_ = write(true, func() error { return encoder.Encode(failure{err.Error()}) })
	} else {
		_ = write(true, func() error { return nil })
	}
}
