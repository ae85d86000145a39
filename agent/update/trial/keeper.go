package trial

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
)

// How often is looked, where something is on and where nothing is; how soon root is
// asked again; how long no scan came at a quiet moment.
const (
	lookSoon  = time.Second
	lookIdle  = 5 * time.Second
	askAgain  = 30 * time.Second
	quietTime = 5 * time.Second
)

// Config is what a Keeper is made of. All is needed but Holds.
type Config struct {
	Launched launch.Launched
	Now      func() record.Moment
	Wall     func() time.Time // for people
	Healthy  func() error
	LastSync func() time.Time // of this process; zero: never
	Contact  func() time.Time // when the centre last answered, if only to say what is wanted; zero: never
	// Holds reports whether a candidate may not be tried now.
	Holds    func(candidate record.Release) bool
	Received func() uint64 // how many scans were taken
	Restart  func()        // ends the process as a stop does
	Tell     func(state string)
	Log      *slog.Logger
}

// Keeper keeps the state of updates while a version runs; its Run owns all of it.
type Keeper struct {
	c     Config
	state record.State
	first record.Release

	answered time.Time
	contact  record.Moment
	received uint64
	quiet    record.Moment // since when no scan has come
	ready    *record.Moment
	asked    *record.Moment
}

// errGaveUp ends a version that does not pass.
var errGaveUp = errors.New("this version does not pass its trial")

// New reads what is known. It must be called once, before Run.
func New(c Config) *Keeper {
	k := &Keeper{c: c, quiet: c.Now()}
	var err error
	if k.state, err = c.Launched.Own.State(); err != nil {
		c.Log.Error("the state of updates cannot be read: no trial is on", "error", err)
	}
	rec, _ := c.Launched.Root.Read() // launch has said what is wrong with it
	k.first = launch.Wanted(rec, k.state, c.Launched.Packaged)
	run := c.Launched.Run
	k.state.Running = &run
	return k
}

// Run looks after the version until ctx ends, or it does not pass.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		next, err := k.look()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			k.state.Running = nil // it ends as planned
			k.save()
			return nil
		case <-time.After(next):
		}
	}
}

// look decides once, and does it.
func (k *Keeper) look() (next time.Duration, err error) {
	f := k.facts()
	s := Decide(k.c.Launched.Run, k.first, k.state, f)
	was := k.state
	k.state = s.State
	k.note(was)
	if !reflect.DeepEqual(was, k.state) && !k.save() {
		k.state = was // what is not on disk is not so; the next look decides anew
		return lookIdle, nil
	}
	k.ready = since(k.ready, s.Ready, f.Now)
	if s.Ask != "" {
		k.ask(s, f.Now)
	}
	switch {
	case s.Fail != "":
		k.c.Log.Error("this version does not pass its trial", "version", k.c.Launched.Release.Version, "reason", s.Fail)
		return 0, errGaveUp
	case s.Restart:
		k.c.Log.Info("restarting for another version")
		k.c.Restart()
		return lookIdle, nil
	case s.Ask != "" || s.Ready || k.state.Trial != nil || k.state.Verdict != nil && k.state.Verdict.Result == record.Testing:
		return lookSoon, nil
	}
	return lookIdle, nil
}

// since is the moment from which on something is so.
func since(from *record.Moment, is bool, now record.Moment) *record.Moment {
	if !is {
		return nil
	}
	if from == nil {
		return &now
	}
	return from
}

func (k *Keeper) facts() Facts {
	f := Facts{Now: k.c.Now(), Healthy: k.c.Healthy()}
	if at := k.c.Contact(); !at.Equal(k.answered) {
		k.answered, k.contact = at, f.Now
	}
	f.Reached, f.Synced = !k.answered.IsZero(), !k.c.LastSync().IsZero()
	f.Contact, _ = f.Now.Since(k.contact)
	if n := k.c.Received(); n != k.received {
		k.received, k.quiet = n, f.Now
	}
	silence, _ := f.Now.Since(k.quiet)
	f.Quiet = silence >= quietTime
	if k.ready != nil {
		f.Waiting, _ = f.Now.Since(*k.ready)
	}
	until, _ := k.c.Launched.Own.Held() // one that cannot be read holds nothing, as status says
	f.Record, _ = k.c.Launched.Root.Read()
	f.Held = k.c.Wall().Before(until) || k.c.Holds != nil && k.c.Holds(f.Record.Candidate)
	return f
}

// note tells what has changed, and has systemd's watchdog be as it was without a trial.
func (k *Keeper) note(was record.State) {
	if t, before := k.state.Trial, was.Trial; t != nil && t.Passed && (before == nil || !before.Passed) {
		k.c.Log.Info("this version passes its trial", "version", t.Release.Version)
		if usec := k.c.Launched.Watchdog; usec != "" {
			k.c.Tell("WATCHDOG_USEC=" + usec)
		}
	}
	if v := k.state.Verdict; v != nil && v != was.Verdict {
		v.Wall = k.c.Wall().UTC().Truncate(time.Second)
		k.c.Log.Info("verdict", "version", v.Release.Version, "result", v.Result, "reason", v.Reason)
	}
}

func (k *Keeper) save() bool {
	if err := k.c.Launched.Own.SetState(k.state); err != nil {
		k.c.Log.Error("the state of updates cannot be written", "error", err)
		return false
	}
	return true
}

// ask asks root, and again where it did not answer.
func (k *Keeper) ask(s Step, now record.Moment) {
	if k.asked != nil {
		if ago, same := now.Since(*k.asked); same && ago < askAgain {
			return
		}
	}
	k.asked = &now
	if _, err := k.c.Launched.Own.Ask(s.Ask, s.About); err != nil {
		k.c.Log.Error("root cannot be asked", "error", err)
	}
}

// Excuse has an end that is to come not count against the version: what is wrong is the
// configuration, say, which it took before.
func Excuse(l *launch.Launched) error {
	if l.Role == record.RoleTrial { // its tries are counted in any case
		return nil
	}
	st, err := l.Own.State()
	if err == nil {
		st.Running = nil
		err = l.Own.SetState(st)
	}
	return err
}
