package directive

import (
	"encoding/json"
	"strings"
)

// Where the centre serves what directives name, to depots alone. Like enrolment they
// stand outside the versions of the sync API: a gateway from the shelf can be brought up
// to date.
const (
	UpdatesPath = "/v1/updates/" // a TUF repository
	ConfigPath  = "/v1/config"   // ?revision=N: a Body
)

// Bounds of what is sent.
const (
	MaxBytes = 4 << 10   // of Directives, as JSON
	MaxBody  = 256 << 10 // of a Body, as JSON
	MaxText  = 200       // bytes of each text that a gateway says; what is beyond is cut
)

// Directives are what the centre wants of a gateway: in the answer to a sync, and beside
// the error of a 409. Each stands for as long as it is given.
type Directives struct {
	Update  *Update `json:"update,omitempty"`
	Hold    bool    `json:"hold,omitempty"` // no trial may begin now
	Config  *Config `json:"config,omitempty"`
	SyncNow bool    `json:"sync_now,omitempty"`
}

// Update names the version that a gateway is to come to. An older one than what runs
// counts only with Back, and only where it was committed before.
type Update struct {
	Version string `json:"version"`
	Rollout string `json:"rollout"` // its id
	Back    bool   `json:"back,omitempty"`
}

// Config names the configuration that a gateway is to have. Revisions rise over all
// names: a higher one was put later.
type Config struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
	SHA256   string `json:"sha256"` // of the Body that ConfigPath gives, hex
}

// File is under which a gateway keeps a Body in its data_dir.
const File = "central.yaml"

// Body is a configuration. Its parts are those of agent.yaml, as JSON; one that is not
// there stays as it stands on the gateway.
type Body struct {
	Sources  json.RawMessage `json:"sources,omitempty"`
	Stations json.RawMessage `json:"stations,omitempty"`
	Notify   json.RawMessage `json:"notify,omitempty"`
	Log      json.RawMessage `json:"log,omitempty"`
}

// UpdateState is what a gateway says of its versions, in the words of its update status.
type UpdateState struct {
	Version string `json:"version"`           // that runs
	Digest  string `json:"digest,omitempty"`  // its SHA-256, hex
	State   string `json:"state"`             // idle, downloading, staged, trial, committed, rolled_back, held
	Target  string `json:"target,omitempty"`  // which Verdict is about, or which is on its way
	Verdict string `json:"verdict,omitempty"` // of Target, the last: testing, committed, bad, inconclusive, by_hand
	Reason  string `json:"reason,omitempty"`
	Since   int64  `json:"since,omitempty"` // unix seconds: of State
	// Restarts are the unplanned ends of Version since it was committed here.
	Restarts int `json:"restarts,omitempty"`
}

// Bounded is the state with each text cut, and in ASCII: what is not may be anything, a
// name too. It is a copy: a part of a long text would keep all of it in memory.
func (u UpdateState) Bounded() UpdateState {
	for _, text := range []*string{&u.Version, &u.Digest, &u.State, &u.Target, &u.Verdict, &u.Reason} {
		*text = plain(*text)
	}
	u.Restarts = max(0, min(u.Restarts, 1_000_000))
	return u
}

// Bounded is the same of a configuration.
func (s ConfigState) Bounded() ConfigState {
	s.Name, s.State, s.Reason = plain(s.Name), plain(s.State), plain(s.Reason)
	return s
}

func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.Clone(text[:min(len(text), MaxText)]))
}

// ConfigState is what became of the newest remote configuration that a gateway tried.
type ConfigState struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
	State    string `json:"state"` // trying, applied, taken_back
	Reason   string `json:"reason,omitempty"`
}

// States of a ConfigState.
const (
	Trying    = "trying"
	Applied   = "applied"
	TakenBack = "taken_back"
)
