package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/uplink/syncapi/directive"
)

// What a trial has: it must be well within the first, for the second, and the centre must
// have answered within the third.
const (
	healthyWithin = 30 * time.Second
	settled       = 10 * time.Second
	syncedWithin  = 5 * time.Minute
)

const (
	lookEvery = time.Second // while one is tried
	tryAgain  = time.Minute // what could not be fetched
	maxTries  = 3           // that an end of the agent cuts short
	fetchTime = time.Minute
)

// Config is what a Keeper is made of. All is needed.
type Config struct {
	Dir      string // data_dir
	Get      func(*http.Request) (*http.Response, error)
	Address  string                   // of directive.ConfigPath
	Apply    func(given []byte) error // puts it in use, all or nothing; nil: what data_dir has
	Healthy  func() error             // why scans are not taken
	LastSync func() time.Time         // zero: never
	Unused   string                   // why this version does not use what data_dir has; "": it does
	Log      *slog.Logger
}

// Keeper keeps a gateway's remote configuration.
type Keeper struct {
	c      Config
	news   chan struct{}
	wanted atomic.Pointer[directive.Config]
	report atomic.Pointer[directive.ConfigState]
	now    state // Run's
	again  time.Time
	unused string // Config's, until something else is tried
	stays  bool   // what was on trial, in use though it is no more
}

// state is what is known of the newest one that was tried.
type state struct {
	Tried  directive.Config `json:"tried"`
	State  string           `json:"state"`
	Reason string           `json:"reason,omitempty"`
	Tries  int              `json:"tries,omitempty"`
}

func (k *Keeper) sealed() durable.Sealed {
	return durable.Sealed{Path: filepath.Join(k.c.Dir, "central-config"), Title: "scanrelay-central-config", Version: 1}
}

// New reads what is known. Run is to be called once.
func New(c Config) *Keeper {
	k := &Keeper{c: c, news: make(chan struct{}, 1)}
	if err := k.sealed().Peek(&k.now); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.Log.Error("what was tried of the centre's configuration cannot be read", "error", err)
		k.now = state{}
	}
	if content, err := durable.ReadFile(filepath.Join(c.Dir, directive.File)); err == nil && k.now.State == directive.Trying && sum(content) == k.now.Tried.SHA256 {
		k.set(state{Tried: k.now.Tried, State: directive.Applied}) // a power cut came in between
	}
	k.unused = c.Unused
	k.tell()
	return k
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// Heard takes what the centre wants; nil: it says nothing. It may be called by any
// goroutine, and does not block.
func (k *Keeper) Heard(d *directive.Config) {
	if d != nil {
		k.wanted.Store(d)
		wait.Signal(k.news)
	}
}

// Report is what the centre is told; nil before the first.
func (k *Keeper) Report() *directive.ConfigState { return k.report.Load() }

func (k *Keeper) tell() {
	if k.now.State != "" {
		said := k.now
		if said.State == directive.Applied && k.unused != "" { // by a version that took it
			said.State, said.Reason = directive.TakenBack, "this version does not take it: "+k.unused
		}
		k.report.Store(&directive.ConfigState{
			Name: directive.Cut(said.Tried.Name), Revision: said.Tried.Revision, State: said.State, Reason: directive.Cut(said.Reason),
		})
	}
}

// set puts a state on disk, and then counts by it.
func (k *Keeper) set(s state) error {
	err := k.sealed().Write(s)
	if err != nil {
		k.c.Log.Error("what becomes of the centre's configuration cannot be written down", "error", err)
		return err
	}
	k.now, k.unused = s, ""
	k.tell()
	return nil
}

// Run tries what the centre wants until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		if k.stays && !time.Now().Before(k.again) {
			k.leave()
		}
		d := k.wanted.Load()
		if done := d == nil || *d == k.now.Tried && k.now.State != directive.Trying; !done && !time.Now().Before(k.again) {
			if err := k.try(ctx, *d); err != nil && ctx.Err() == nil {
				k.again = time.Now().Add(tryAgain)
				k.c.Log.Warn("the centre's configuration is not tried", "name", d.Name, "revision", d.Revision, "reason", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.news:
		case <-time.After(tryAgain):
		}
	}
}

// try fetches and tries one. An error is one after which it is to be tried again.
func (k *Keeper) try(ctx context.Context, d directive.Config) error {
	body, err := k.fetch(ctx, d)
	if err != nil {
		return err
	}
	next := state{Tried: d, State: directive.Trying, Tries: 1}
	if k.now.Tried == d {
		if next.Tries += k.now.Tries; next.Tries > maxTries {
			return k.set(state{Tried: d, State: directive.TakenBack, Reason: fmt.Sprintf("the agent ended %d times while it was tried", maxTries)})
		}
	}
	if err := k.set(next); err != nil {
		return err
	}
	if err := k.c.Apply(body); err != nil { // nothing has changed
		k.c.Log.Error("the centre's configuration is not taken", "name", d.Name, "revision", d.Revision, "reason", err)
		return k.set(state{Tried: d, State: directive.TakenBack, Reason: err.Error()})
	}
	bad := k.trial(ctx)
	if ctx.Err() != nil { // an end as planned is no try
		next.Tries--
		return k.set(next)
	}
	if bad == nil {
		if bad = durable.Create(filepath.Join(k.c.Dir, directive.File), body); bad == nil {
			k.c.Log.Info("the centre's configuration is kept", "name", d.Name, "revision", d.Revision)
			return k.end(state{Tried: d, State: directive.Applied})
		}
	}
	k.c.Log.Error("the centre's configuration is taken back", "name", d.Name, "revision", d.Revision, "reason", bad)
	return k.end(state{Tried: d, State: directive.TakenBack, Reason: bad.Error()})
}

// end notes how a trial ended, and puts in use what data_dir has.
func (k *Keeper) end(s state) error {
	err := k.set(s)
	k.leave()
	return err
}

// leave puts in use what data_dir has. Where the gateway's own file has a mistake by now,
// it is to be called again until that has none: what was taken back does not stay.
func (k *Keeper) leave() {
	err := k.c.Apply(nil)
	if k.stays = err != nil; k.stays {
		k.again = time.Now().Add(tryAgain)
		k.c.Log.Error("the centre's configuration that was on trial is still in use", "reason", err)
	}
}

// trial says why what was put in use does not do well.
func (k *Keeper) trial(ctx context.Context) (bad error) {
	began, before := time.Now(), k.c.LastSync()
	well := began // since when it is
	for wait.Sleep(ctx, lookEvery) {
		bad = k.c.Healthy()
		if bad != nil {
			well = time.Now()
		}
		at := k.c.LastSync()
		synced := !at.IsZero() && !at.Equal(before)
		switch age := time.Since(began); {
		case bad == nil && synced && time.Since(well) >= settled:
			return nil
		case bad != nil && age >= healthyWithin:
			return fmt.Errorf("after %v: %w", age.Round(time.Second), bad)
		case age >= syncedWithin:
			return fmt.Errorf("no sync with the centre within %v", age.Round(time.Second))
		}
	}
	return ctx.Err()
}

// fetch gets what a directive names.
func (k *Keeper) fetch(ctx context.Context, d directive.Config) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.c.Address+"?revision="+strconv.FormatInt(d.Revision, 10), nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.c.Get(req)
	if err != nil {
		return nil, fmt.Errorf("get it: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get it: status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, directive.MaxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("get it: %w", err)
	case len(body) > directive.MaxBody:
		return nil, fmt.Errorf("get it: it has more than %d bytes", directive.MaxBody)
	case sum(body) != d.SHA256:
		return nil, errors.New("get it: its SHA-256 is not the one that the centre named")
	}
	return body, nil
}
