package fake

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"time"

	"github.com/goccy/go-yaml"
)

// Script is what goes wrong, when; read from YAML or JSON.
type Script struct {
	// Seed decides the shares; 0 takes Options.Seed.
	Seed   uint64        `yaml:"seed"`
	Quotas map[API]Quota `yaml:"quotas"`
	Faults []Fault       `yaml:"faults"`
	// Lookup is how the reverse lookup is made; nil leaves it as it was.
	Lookup *LookupRules `yaml:"lookup"`
}

// LookupRules say how WeChat asks the carrier back; 0 leaves a rule as it was.
type LookupRules struct {
	Timeout time.Duration `yaml:"timeout"` // of one try; 5 s
	Tries   int           `yaml:"tries"`   // in all, while nobody answers; 3
	// MarkFailAfter lookups in a row that reached nobody, WeChat stops calling
	// for MarkFailFor (1 min).
	MarkFailAfter int           `yaml:"mark_fail_after"`
	MarkFailFor   time.Duration `yaml:"mark_fail_for"`
}

// Fault spoils some calls of an API. Of the faults that would hit a call the
// first in the list does; one that only delays lets later ones hit as well.
type Fault struct {
	API   API     `yaml:"api"`   // "*" is all
	Share float64 `yaml:"share"` // of the calls, 0 to 1; 0 is all
	Skip  int     `yaml:"skip"`  // spare the first so many calls
	Count int     `yaml:"count"` // hit at most so many; 0 is no bound
	// After: the effect happens (the push is made, the token is issued) and
	// then the fault. Otherwise the fault comes instead of the effect.
	After bool `yaml:"after"`

	Errcode int           `yaml:"errcode"`
	Errmsg  string        `yaml:"errmsg"` // default WeChat's words for the errcode
	Status  int           `yaml:"status"` // HTTP status, with Body
	Body    string        `yaml:"body"`   // instead of JSON; "" with Status is the status' text
	Drop    bool          `yaml:"drop"`   // the connection is closed without an answer
	Delay   time.Duration `yaml:"delay"`
	Slow    time.Duration `yaml:"slow"`  // pause in the middle of the answer's body
	Exist   *bool         `yaml:"exist"` // what userquery and pathnotify find about the phone
	// RetryAfter is the header's value with Status, in whole seconds.
	RetryAfter time.Duration `yaml:"retry_after"`
}

// LoadScript reads a script from a YAML or JSON file.
func LoadScript(path string) (Script, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Script{}, fmt.Errorf("read wechat script: %w", err)
	}
	return ParseScript(b)
}

// ParseScript reads a script. An unknown key is an error.
func ParseScript(b []byte) (Script, error) {
	var s Script
	if err := yaml.UnmarshalWithOptions(b, &s, yaml.Strict()); err != nil {
		return Script{}, fmt.Errorf("parse wechat script: %w", err)
	}
	return s, s.validate()
}

func (s Script) validate() error {
	known := map[API]bool{"*": true}
	for _, api := range paths {
		known[api] = true
	}
	for api := range s.Quotas {
		if !known[api] || api == "*" {
			return fmt.Errorf("wechat script: quotas: no api is named %q", api)
		}
	}
	if l := s.Lookup; l != nil && (l.Timeout < 0 || l.Tries < 0 || l.MarkFailAfter < 0 || l.MarkFailFor < 0) {
		return fmt.Errorf("wechat script: lookup: a number is below 0")
	}
	for i, f := range s.Faults {
		if !known[f.API] {
			return fmt.Errorf("wechat script: faults[%d]: no api is named %q (have stable_token, userquery, pathnotify, quota, *)", i, f.API)
		}
		if f.Share < 0 || f.Share > 1 {
			return fmt.Errorf("wechat script: faults[%d]: share %v is not between 0 and 1", i, f.Share)
		}
		if !f.spoils() && f.Delay == 0 && f.Slow == 0 && f.Exist == nil {
			return fmt.Errorf("wechat script: faults[%d] does nothing", i)
		}
	}
	return nil
}

// SetScript replaces the script; the counts of its faults start anew.
func (s *Server) SetScript(sc Script) error {
	if err := sc.validate(); err != nil {
		return err
	}
	if sc.Seed == 0 {
		sc.Seed = s.o.Seed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = newFaultBook(sc)
	maps.Copy(s.quotas.limits, sc.Quotas)
	if sc.Lookup != nil {
		s.lookup = sc.Lookup.over(s.lookup)
	}
	return nil
}

// over returns the rules with old ones where they say nothing.
func (l LookupRules) over(old LookupRules) LookupRules {
	return LookupRules{
		Timeout: cmp.Or(l.Timeout, old.Timeout), Tries: cmp.Or(l.Tries, old.Tries),
		MarkFailAfter: cmp.Or(l.MarkFailAfter, old.MarkFailAfter), MarkFailFor: cmp.Or(l.MarkFailFor, old.MarkFailFor),
	}
}

// Fail adds a fault to the script.
func (s *Server) Fail(f Fault) error {
	if err := (Script{Faults: []Fault{f}}).validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.list = append(s.faults.list, &faultState{Fault: f})
	return nil
}

// spoils reports whether the call gets another answer than its own.
func (f Fault) spoils() bool { return f.Errcode != 0 || f.Status != 0 || f.Body != "" || f.Drop }

// answer makes the scripted answer.
func (f Fault) answer(call *Call) answer {
	if f.Drop {
		return answer{drop: true, code: call.Errcode, detail: "dropped by the script"}
	}
	a := answer{code: f.Errcode, msg: f.Errmsg, status: f.Status, body: []byte(f.Body), retryAfter: f.RetryAfter, detail: "scripted"}
	if f.Errcode == 40164 && f.Errmsg == "" {
		a.msg = "invalid ip " + call.Remote + ", not in whitelist" // WeChat names the address here
	}
	if f.Status != 0 && f.Body == "" && f.Errcode == 0 {
		a.body = fmt.Appendf(nil, "HTTP %d\n", f.Status)
	}
	return a
}

func (f Fault) name() string {
	switch {
	case f.Drop:
		return "drop"
	case f.Errcode != 0:
		return fmt.Sprintf("errcode %d", f.Errcode)
	case f.Status != 0:
		return fmt.Sprintf("status %d", f.Status)
	case f.Body != "":
		return "body"
	case f.Exist != nil:
		return "exist"
	case f.Slow != 0:
		return "slow"
	}
	return "delay"
}

type faultState struct {
	Fault
	seen, hit int
}

// faultBook decides the faults. The n-th call of an API always meets the same
// fate for one seed, whatever other APIs do meanwhile. The server's lock
// guards it.
type faultBook struct {
	seed    uint64
	list    []*faultState
	chances map[string]*rand.Rand
}

func newFaultBook(s Script) faultBook {
	b := faultBook{seed: s.Seed, chances: map[string]*rand.Rand{}}
	for _, f := range s.Faults {
		b.list = append(b.list, &faultState{Fault: f})
	}
	return b
}

// plan is what happens to one call besides its own course.
type plan struct {
	before, after Fault
	slow          time.Duration
	exist         *bool
	what          string
	spoiled       bool // decided: later faults only count the call
	down          bool
}

// next decides what happens to the next call of an API.
func (b *faultBook) next(api API) plan {
	var p plan
	for i, f := range b.list {
		if f.API != api && f.API != "*" {
			continue
		}
		f.seen++
		if p.spoiled || f.seen <= f.Skip || (f.Count > 0 && f.hit >= f.Count) || !b.roll(i, api, f.Share) {
			continue
		}
		f.hit++
		p.take(f.Fault)
	}
	return p
}

func (p *plan) take(f Fault) {
	p.what, p.spoiled = f.name(), f.spoils()
	at := &p.before
	if f.After {
		at = &p.after
	}
	f.Delay += at.Delay
	*at = f
	p.slow += f.Slow
	if f.Exist != nil {
		p.exist = f.Exist
	}
}

func (b *faultBook) roll(i int, api API, share float64) bool {
	if share == 0 || share == 1 {
		return true
	}
	stream := fmt.Sprintf("%d %s", i, api)
	if b.chances[stream] == nil {
		b.chances[stream] = newRand(b.seed, stream)
	}
	return b.chances[stream].Float64() < share
}
