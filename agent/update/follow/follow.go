package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi/directive"
)

// How often is looked, and when something that failed is tried again.
const (
	lookEvery  = 5 * time.Second
	againBase  = time.Minute
	againLimit = time.Hour
)

// Config is what a Follower is made of. All is needed but Program and Window.
type Config struct {
	Root       record.Root
	Own        record.Own
	Run        record.Run       // how this process was started
	Program    string           // this program's file, for deltas; "": none
	Built      time.Time        // its date
	First      string           // file with the first root
	Repository trust.Repository // the centre's
	Auto       bool             // what the centre wants is done
	MaxRate    int64            // bytes a second; 0: as fast as they come
	Window     Window           // in which what the centre wants is tried
	Now        func() time.Time // the wall's
	Log        *slog.Logger
}

// Window is a part of each day.
type Window interface {
	Open(at time.Time) bool
	String() string
}

// Follower does what the centre wants of this gateway's version.
type Follower struct {
	c      Config
	news   chan struct{}
	said   atomic.Pointer[said]
	report atomic.Pointer[directive.UpdateState]
	wanted atomic.Pointer[record.Wanted] // as on disk, if that can be written; Run alone changes it

	// Run's.
	job   *job
	pace  *backoff.ExponentialBackOff
	again time.Time // when what failed is tried again
	state string    // and since when
	since time.Time
}

// said is what the centre said last, and the newest of its times.
type said struct {
	directive.Directives
	seen time.Time
}

// New reads how far things are. Run is to be called once.
func New(c Config) *Follower {
	f := &Follower{c: c, news: make(chan struct{}, 1), pace: wait.Pace(againBase, againLimit)}
	w, err := c.Own.Wanted()
	if err != nil {
		c.Log.Error("what the centre wanted cannot be read: it will say so again", "error", err)
	}
	w.Bringing, w.Problem, w.Again = false, "", time.Time{}
	f.wanted.Store(&w)
	return f
}

// Heard takes what an answer of the authenticated centre says: nil, if it wants nothing,
// and its time; zero, if it gave none. It may be called by any goroutine, and does not
// block.
func (f *Follower) Heard(d *directive.Directives, at time.Time) {
	next := &said{seen: at}
	if d != nil {
		next.Directives = *d
	}
	if was := f.said.Load(); was != nil && was.seen.After(at) {
		next.seen = was.seen
	}
	f.said.Store(next)
	wait.Signal(f.news)
}

// Report is how things stand, for the centre; nil before the first look.
func (f *Follower) Report() *directive.UpdateState { return f.report.Load() }

// Holds reports whether a candidate may not be tried now. It may be called by any
// goroutine.
func (f *Follower) Holds(candidate record.Release) bool {
	why, _ := f.waits(candidate, f.wanted.Load())
	return why != ""
}

// waits says what a candidate waits for; held: the centre lets nothing begin.
func (f *Follower) waits(candidate record.Release, w *record.Wanted) (why string, held bool) {
	s := f.said.Load()
	switch {
	case candidate.IsPackaged():
	case s != nil && s.Hold:
		return "the centre lets no trial begin now", true
	case candidate != w.Step: // a person applied it
	case s == nil || s.Update == nil || s.Update.Version != w.Version || !f.c.Auto:
		return "the centre does not ask for it now", false
	case f.c.Window != nil && !f.c.Window.Open(f.c.Now()):
		return "the window " + f.c.Window.String(), false
	}
	return "", false
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	defer f.abandon()
	for {
		f.look(ctx)
		var done <-chan result
		if f.job != nil {
			done = f.job.done
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.news:
		case r := <-done:
			f.job = nil
			f.ended(ctx, r)
		case <-time.After(lookEvery):
		}
	}
}

// abandon ends a download, which is gone on with another time.
func (f *Follower) abandon() {
	if f.job != nil {
		f.job.cancel()
		<-f.job.done
		f.job = nil
	}
}

// look does what is to be done next, and notes how things stand.
func (f *Follower) look(ctx context.Context) {
	rec, err := f.c.Root.Read() // launch has said what is wrong with it
	want := f.want()
	w := *f.wanted.Load()
	if want != nil && (want.Version != w.Version || want.Rollout != w.Rollout) {
		f.abandon()
		f.again = time.Time{}
		f.pace.Reset()
		next := record.Wanted{Version: want.Version, Rollout: want.Rollout}
		if want.Version == w.Version && w.Step == rec.Candidate { // as before, by another rollout
			next.Step, next.Asked = w.Step, w.Asked
		}
		w = next
	}
	if want == nil && f.job != nil {
		f.abandon()
		w.Bringing = false
	}
	if want != nil && f.job == nil && err == nil {
		w = f.act(ctx, rec, *want, w)
	}
	w.Waits, w.Held = f.waits(rec.Candidate, &w)
	f.note(w)
	f.tell(rec)
}

// want is what the centre wants, if that is to be done.
func (f *Follower) want() *directive.Update {
	if s := f.said.Load(); s != nil && f.c.Auto && s.Update != nil && s.Update.Version != "" {
		return s.Update
	}
	return nil
}

// act begins what is next on the way to what is wanted, and returns how far that is.
func (f *Follower) act(ctx context.Context, rec record.Record, want directive.Update, w record.Wanted) record.Wanted {
	st, _ := f.c.Own.State() // launch has said what is wrong with it
	until, _ := f.c.Own.Held()
	runs := Runs(rec, f.c.Run.Packaged)
	if w.Asked != "" && rec.Answer.ID == w.Asked && rec.Answer.Reason != "" {
		w.Asked = ""
		return f.failed(w, errors.New(rec.Answer.Reason))
	}
	switch {
	case runs == want.Version:
		w.Problem, w.Again = "", time.Time{}
	case time.Now().Before(f.again), f.c.Own.Asked(), st.Trial != nil, st.Verdict != nil && st.Verdict.Result == record.Testing, f.c.Now().Before(until):
	case want.Back:
		return f.back(rec, want, w)
	case record.Newer(runs, want.Version):
		return f.failed(w, fmt.Errorf("%s is older than %s, which runs", want.Version, runs))
	case rec.Candidate == w.Step && !w.Step.IsPackaged(), rec.Candidate.Version == want.Version:
		w.Problem, w.Again = "", time.Time{} // it is to be tried
	case w.Asked != "" && rec.Committed != w.Step && !slices.Contains(rec.Barred, w.Step.SHA256):
		w.Problem = "somebody went back from " + w.Step.Version + " by hand" // until the centre wants something else
	default:
		known, err := Known(rec.Trust, f.c.First, f.c.Built)
		if err != nil {
			return f.failed(w, err)
		}
		seen := f.said.Load().seen
		if err := known.Saw(seen); err != nil {
			f.c.Log.Warn("expiry is judged by what was known before", "error", err)
		}
		f.start(ctx, func(ctx context.Context) result { return f.find(ctx, known, runs, want.Version) })
	}
	return w
}

// back goes one version back, to one that was committed here.
func (f *Follower) back(rec record.Record, want directive.Update, w record.Wanted) record.Wanted {
	about := rec.Candidate // which is let go first
	if about.IsPackaged() {
		about = rec.Committed
	}
	if to := cmp.Or(rec.Previous.Version, f.c.Run.Packaged); to != want.Version || about.IsPackaged() {
		return f.failed(w, fmt.Errorf("%s was not committed here before %s", want.Version, Runs(rec, f.c.Run.Packaged)))
	}
	id, err := f.c.Own.Ask(record.OpBack, about)
	if err != nil {
		return f.failed(w, err)
	}
	w.Asked = id
	return w
}

// failed notes why it does not go on, and until when.
func (f *Follower) failed(w record.Wanted, err error) record.Wanted {
	pause := f.pace.NextBackOff()
	if errors.Is(err, errBarred) {
		pause = againLimit
	}
	f.again = time.Now().Add(pause)
	if text := err.Error(); text != w.Problem {
		w.Problem = text
		f.c.Log.Warn("what the centre wants is not brought", "version", w.Version, "reason", text, "again_in", pause.Round(time.Second).String())
	}
	w.Bringing, w.Again = false, f.c.Now().Add(pause).UTC().Truncate(time.Second)
	return w
}

// note keeps how far things are.
func (f *Follower) note(w record.Wanted) {
	if was := f.wanted.Load(); *was == w {
		return
	}
	f.wanted.Store(&w)
	if err := f.c.Own.SetWanted(w); err != nil {
		f.c.Log.Error("what the centre wants cannot be written down", "error", err)
	}
}

// tell has the centre hear how things stand.
func (f *Follower) tell(rec record.Record) {
	now := f.c.Now()
	s := Look(f.c.Root, f.c.Own, f.c.Run.Packaged, now)
	if s.State != f.state {
		first := f.state == ""
		f.state, f.since = s.State, now
		if v := s.Verdict; first && v != nil && v.At != nil && (s.State == "committed" || s.State == "rolled_back") {
			f.since = *v.At
		}
	}
	st, _ := f.c.Own.State()
	f.report.Store(s.Report(f.c.Run.Release.SHA256, len(st.Ends), f.since))
}
