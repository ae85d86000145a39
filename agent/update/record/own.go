package record

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"scanrelay/store/durable"
)

// Moment is one of a boot: the wall clock of a gateway may jump.
type Moment struct {
	Boot string        `json:"boot"`
	At   time.Duration `json:"at"` // since the boot
}

// Since is how long ago another moment of the same boot was; false: it was in
// another boot.
func (m Moment) Since(then Moment) (time.Duration, bool) {
	return m.At - then.At, m.Boot == then.Boot && m.At >= then.At
}

// State is what the agent's user knows: launch writes it before it starts a version,
// and that version while it runs.
type State struct {
	Running *Run     `json:"running,omitempty"` // what was started last; nil: it ended as planned
	Ends    []Moment `json:"ends,omitempty"`    // unplanned ones of the version that is not on trial
	Trial   *Trial   `json:"trial,omitempty"`
	Away    []string `json:"away,omitempty"` // digests of what was gone back from
	Verdict *Verdict `json:"verdict,omitempty"`
	Problem string   `json:"problem,omitempty"` // what kept the wanted version from starting
}

// Role is why a version was started.
type Role string

const (
	RoleCommitted Role = "committed" // as it is the one to run
	RoleTrial     Role = "trial"     // it is tried
	RoleTest      Role = "test"      // it was gone back to, and tells whose fault that was
)

// Run is a version that was started.
type Run struct {
	Release  Release `json:"release"`
	Role     Role    `json:"role"`
	Packaged string  `json:"packaged"` // the packaged version
	Began    Moment  `json:"began"`
}

// Trial is a candidate's.
type Trial struct {
	Release Release       `json:"release"`
	Tries   int           `json:"tries"`
	First   Moment        `json:"first"`            // try of this boot
	Doubt   bool          `json:"doubt,omitempty"`  // something else may be at fault, as a boot meanwhile
	Passed  bool          `json:"passed,omitempty"` // it is to be committed
	Failed  string        `json:"failed,omitempty"` // it says itself that it did not pass, and why
	Healthy time.Duration `json:"healthy"`          // within which it must be
	Synced  time.Duration `json:"synced"`           // within which it must have
}

// Verdicts.
const (
	Testing      = "testing" // the version before is asked whether it does better
	Good         = "committed"
	Bad          = "bad"
	Inconclusive = "inconclusive" // it is tried again later
	ByHand       = "by_hand"      // somebody went back
)

// Verdict is what came of a version that was tried, or gone back from.
type Verdict struct {
	Release Release   `json:"release"`
	Result  string    `json:"result"`
	Reason  string    `json:"reason,omitempty"`
	Doubt   bool      `json:"doubt,omitempty"` // something else may be at fault
	When    Moment    `json:"when"`
	Wall    time.Time `json:"wall,omitzero"` // for people
}

// Own is the agent's folder of updates.
type Own string

// Staged are the names of what root is asked to install.
const (
	StagedFolder = "staged"
	Target       = "target"
	Metadata     = "metadata"
)

func (d Own) sealed(name string) durable.Sealed {
	return durable.Sealed{Path: filepath.Join(string(d), name), Title: "scanrelay-update-" + name, Version: 1, Mode: 0o640}
}

// State returns what is known; nothing where the file is spoilt, which err says.
func (d Own) State() (s State, err error) {
	if err = d.sealed("state").Peek(&s); err == nil || errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	return State{}, err
}

// SetState replaces it, durably.
func (d Own) SetState(s State) error { return d.sealed("state").Write(s) }

// Wanted is what the centre wants to run, and how far the agent is with it.
type Wanted struct {
	Version  string    `json:"version"`
	Rollout  string    `json:"rollout,omitempty"`
	Step     Release   `json:"step"`               // what comes next on the way, once that is known
	Bringing bool      `json:"bringing,omitempty"` // Step
	Asked    string    `json:"asked,omitempty"`    // id of the request to install Step
	Waits    string    `json:"waits,omitempty"`    // what the trial of Step waits for
	Held     bool      `json:"held,omitempty"`     // the centre lets no trial begin
	Problem  string    `json:"problem,omitempty"`
	Again    time.Time `json:"again,omitzero"` // when it is looked for again, for people
}

// Wanted returns it; nothing where the file is spoilt, which err says.
func (d Own) Wanted() (w Wanted, err error) {
	if err = d.sealed("wanted").Peek(&w); err == nil || errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	return Wanted{}, err
}

// SetWanted replaces it, durably.
func (d Own) SetWanted(w Wanted) error {
	if err := d.Make(); err != nil {
		return err
	}
	return d.sealed("wanted").Write(w)
}

// Ops are what root can be asked for.
const (
	OpInstall = "install" // what is staged
	OpCommit  = "commit"  // the candidate
	OpBack    = "back"    // from the committed version, or to no candidate
	OpBar     = "bar"     // the same, and never to take that digest again
	OpMend    = "mend"    // the link
)

// Request is what root is asked for.
type Request struct {
	ID      string  `json:"id"`
	Op      string  `json:"op"`
	Release Release `json:"release"` // that is committed, gone back from or barred
	// Seen is the newest time that the authenticated centre gave: what had expired by then
	// is not installed.
	Seen time.Time `json:"seen,omitzero"`
}

// RequestFile is its name.
const RequestFile = "request"

// Ask puts a request where root looks for it, instead of one that it has not taken, and
// returns its id.
func (d Own) Ask(op string, r Release) (id string, err error) {
	return d.Send(Request{Op: op, Release: r})
}

// Send is Ask of a whole request but its id.
func (d Own) Send(r Request) (id string, err error) {
	r.ID = rand.Text()
	if err = d.Make(); err == nil {
		err = d.sealed(RequestFile).Write(r)
	}
	if err != nil {
		return "", fmt.Errorf("ask root for %s: %w", r.Op, err)
	}
	return r.ID, nil
}

// Asked reports whether root has not yet taken a request.
func (d Own) Asked() bool { return durable.Exists(filepath.Join(string(d), RequestFile)) }

// DecodeRequest reads one.
func DecodeRequest(content []byte) (r Request, err error) {
	err = Own("").sealed(RequestFile).Decode(content, &r)
	return r, err
}

// Make makes the folder, and has the group write in it: root takes requests away as
// a member of it, without any privilege.
func (d Own) Make() error {
	if err := os.MkdirAll(string(d), 0o770); err != nil {
		return err
	}
	info, err := os.Stat(string(d))
	if err == nil && info.Mode().Perm() != 0o770 {
		err = os.Chmod(string(d), 0o770)
	}
	return err
}

// hold is the file that says until when nothing is taken.
type hold struct {
	Until time.Time `json:"until"`
}

// Held tells until when nothing is taken; zero: nothing holds. With an error nothing
// does either.
func (d Own) Held() (until time.Time, err error) {
	var h hold
	if err = d.sealed("hold").Peek(&h); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return h.Until, err
}

// Hold holds until then; the zero time releases.
func (d Own) Hold(until time.Time) error {
	s := d.sealed("hold")
	s.Mode = 0o644 // root's, where it is root who holds
	if !until.IsZero() {
		return s.Write(hold{until})
	}
	if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(string(d))
}
