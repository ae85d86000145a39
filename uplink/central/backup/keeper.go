package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/configs/serve"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
)

// Options of a Keeper.
type Options struct {
	Source  Source
	StoreID string
	Dir     string        // where copies are kept; "": none are made by schedule
	Every   time.Duration // how often
	Keep    int           // how many
	Logger  *slog.Logger
	Now     func() time.Time
	Metrics *metrics.Set
}

// Keeper makes copies of a centre that runs, one at a time. A nil one, of a centre
// whose store is a database, makes none.
type Keeper struct {
	o    Options
	busy chan struct{} // capacity 1: a copy is being made
	turn time.Duration // how long a call waits for its end

	mu      sync.Mutex
	last    time.Time // of the newest whole copy, or the start where there is none; guarded by mu
	none    bool      // at the start there was none
	trouble string    // why the last try failed; guarded by mu
	since   time.Time // when that began; guarded by mu
}

// New makes a Keeper.
func New(o Options) *Keeper {
	k := &Keeper{o: o, busy: make(chan struct{}, 1), turn: 5 * time.Second}
	if o.Dir != "" {
		k.last = k.newest(o.Now())
		if k.none = k.last.IsZero(); k.none {
			k.last = o.Now()
		}
		o.Metrics.GetOrCreateGauge("scanrelay_central_backup_age_seconds", func() float64 {
			return max(0, k.age().Seconds())
		})
	}
	return k
}

func (k *Keeper) age() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.o.Now().Sub(k.last)
}

const (
	stamp  = "20060102T150405Z"
	suffix = ".backup"
)

// Name is that of a copy: it sorts by time among those of its store.
func Name(storeID string, at time.Time) string {
	return prefix(storeID) + at.UTC().Format(stamp) + suffix
}

func prefix(storeID string) string { return "centre-" + storeID[:min(8, len(storeID))] + "-" }

// copies lists the names of this store's copies, oldest first.
func (k *Keeper) copies() (names []string, err error) {
	entries, err := durable.ReadDir(k.o.Dir)
	for _, e := range entries {
		if !k.timeOf(e.Name()).IsZero() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// timeOf is when a copy was made; zero: it is none of this store's.
func (k *Keeper) timeOf(name string) time.Time {
	text, ok := strings.CutPrefix(name, prefix(k.o.StoreID))
	text, whole := strings.CutSuffix(text, suffix)
	at, err := time.Parse(stamp, text)
	if !ok || !whole || err != nil {
		return time.Time{}
	}
	return at
}

// newest is the time of the newest copy that is not of the future.
func (k *Keeper) newest(now time.Time) (at time.Time) {
	names, _ := k.copies() // a folder that cannot be read is told when a copy is made
	for _, name := range names {
		if t := k.timeOf(name); !t.After(now) {
			at = t
		}
	}
	return at
}

// retryAfter is when a copy that failed is tried again.
const retryAfter = 10 * time.Minute

// Run makes copies by schedule until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	if k == nil || k.o.Dir == "" {
		return
	}
	rest := time.Duration(0)
	if !k.none {
		rest = k.o.Every - k.age()
	}
	for wait.Sleep(ctx, min(max(0, rest), k.o.Every)) {
		err := k.copy(ctx)
		if rest = k.o.Every - k.age(); err != nil {
			rest = min(k.o.Every, retryAfter)
		}
	}
}

// copy makes one copy and removes those that are too many.
func (k *Keeper) copy(ctx context.Context) error {
	if !k.begin(ctx) {
		return ctx.Err()
	}
	defer func() { <-k.busy }()
	began := k.o.Now()
	name := Name(k.o.StoreID, began)
	err := k.write(ctx, name)
	if ctx.Err() != nil { // the centre stops
		return ctx.Err()
	}
	if err == nil {
		k.o.Logger.Info("the centre's state was copied", "file", name, "bytes", sizeOf(filepath.Join(k.o.Dir, name)), "took", k.o.Now().Sub(began).Round(time.Millisecond))
		if err = k.prune(name); err != nil {
			err = fmt.Errorf("remove old copies: %w", err)
		}
		k.note(began, err)
		return nil // the copy is there
	}
	k.note(time.Time{}, err)
	return err
}

// begin waits for its turn while ctx lasts. Whoever has it takes it out of busy again.
func (k *Keeper) begin(ctx context.Context) bool {
	select {
	case k.busy <- struct{}{}:
		return true
	default:
	}
	select {
	case k.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (k *Keeper) write(ctx context.Context, name string) error {
	if err := k.removeTemps(); err != nil {
		return err
	}
	return WriteFile(filepath.Join(k.o.Dir, name), func(w io.Writer) error {
		return k.o.Source.Write(ctx, &gentle{ctx: ctx, w: w})
	})
}

// note remembers what became of a copy.
func (k *Keeper) note(made time.Time, err error) {
	result := "ok"
	k.mu.Lock()
	defer k.mu.Unlock()
	if !made.IsZero() {
		k.last = made
	} else {
		result = "failed"
	}
	k.o.Metrics.GetOrCreateCounter(`scanrelay_central_backups_total{result="` + result + `"}`).Inc()
	was := k.trouble
	if k.trouble = ""; err != nil {
		k.trouble = err.Error()
		k.o.Logger.Error("scheduled backup", "error", err)
	}
	if was == "" {
		k.since = k.o.Now()
	}
}

// Trouble tells why there is no copy as new as there should be, and since when that
// is so; "": there is one.
func (k *Keeper) Trouble() (why string, since time.Time) {
	if k == nil || k.o.Dir == "" {
		return "", time.Time{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch overdue := k.last.Add(2 * k.o.Every); {
	case k.trouble != "":
		return k.trouble, k.since
	case k.o.Now().After(overdue):
		return "the copy under way takes too long: does the disk of backup.dir answer?", overdue
	}
	return "", time.Time{}
}

// removeTemps removes what copies that were killed have left.
func (k *Keeper) removeTemps() error {
	temps, err := durable.Glob(k.o.Dir, prefix(k.o.StoreID)+"*"+suffix+".tmp")
	if _, missing := os.Stat(k.o.Dir); missing != nil {
		return fmt.Errorf("backup.dir: %w", missing) // it is not made: perhaps its disk is not there
	}
	for _, t := range temps {
		err = errors.Join(err, os.Remove(t))
	}
	return err
}

// prune removes the oldest copies, never the one that was just made. One with a later
// time is older: it was made while the clock ran ahead.
func (k *Keeper) prune(made string) error {
	names, err := k.copies()
	n := slices.Index(names, made) + 1
	names = slices.Concat(names[n:], names[:n])
	for _, name := range names[:max(0, len(names)-k.o.Keep)] {
		if name != made {
			err = errors.Join(err, os.Remove(filepath.Join(k.o.Dir, name)))
		}
	}
	return err
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// gentle rests as long as the disk took, which leaves half of it to others.
type gentle struct {
	ctx context.Context
	w   io.Writer
}

func (g *gentle) Write(b []byte) (int, error) {
	began := time.Now()
	n, err := g.w.Write(b)
	if err == nil && !wait.Sleep(g.ctx, min(time.Since(began), time.Second)) {
		err = g.ctx.Err()
	}
	return n, err
}

// ErrorTrailer is the HTTP trailer that says why an archive breaks off.
const ErrorTrailer = "Scanrelay-Error"

// Serve answers a call for an archive. note is told what became of it.
func (k *Keeper) Serve(w http.ResponseWriter, r *http.Request, note func(err error)) {
	if k == nil {
		serve.Fail(w, http.StatusNotImplemented, "the centre's store is a database: back it up by its own tools, pg_dump or pg_basebackup")
		return
	}
	turn, cancel := context.WithTimeout(r.Context(), k.turn)
	defer cancel()
	if !k.begin(turn) {
		w.Header().Set("Retry-After", "60")
		serve.Fail(w, http.StatusServiceUnavailable, "another backup is being made: try again when it is done")
		return
	}
	defer func() { <-k.busy }()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Trailer", ErrorTrailer)
	rc := http.NewResponseController(w)
	err := rc.SetReadDeadline(time.Time{}) // that of the server would end the call
	if err == nil {
		err = k.o.Source.Write(r.Context(), &stream{w, rc})
	}
	if err != nil {
		h.Set(ErrorTrailer, strings.Map(func(c rune) rune {
			if c < ' ' || c > '~' {
				return ' '
			}
			return c
		}, err.Error()))
	}
	note(err)
}

// stream moves the server's deadline on with each frame that is taken.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s *stream) Write(b []byte) (int, error) {
	if err := s.rc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	n, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}
