package rollout

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/syncapi/directive"
)

// Options is what a Service is made of.
type Options struct {
	Table documents.Table
	Alone bool       // no other process uses Table
	Audit *audit.Log // nil: nothing is kept
	// Fleet is all depots as they are now.
	Fleet func(ctx context.Context) ([]Depot, error)
	// Releases are what the repository has; nil: there is none.
	Releases func(ctx context.Context) ([]trust.Target, error)
	Now      func() time.Time
	Logger   *slog.Logger
}

// Service keeps one rollout, and those before.
type Service struct {
	o      Options
	began  time.Time
	failed wait.Rarely

	mu     sync.Mutex
	ledger ledger           // guarded by mu, as all below
	groups map[string]Group // by Depot.key, of this rollout or one before
}

// Names of the documents.
const (
	ledgerName  = "rollout/now"
	groupPrefix = "rollout/group/"
)

// ledger is what there is of rollouts.
type ledger struct {
	N    int64     `json:"n,omitempty"` // rises with each change
	Now  *Rollout  `json:"now,omitempty"`
	Past []Rollout `json:"past,omitempty"` // the newest first
}

const maxPast = 20

// every is how often a rollout is looked at. settled is how long after a start it cannot be
// known who is away: depots that were cut off come again within it.
const (
	every   = 5 * time.Second
	settled = 5 * time.Minute
)

// New makes a Service; Load reads what there is.
func New(o Options) *Service {
	return &Service{o: o, began: o.Now(), failed: wait.Rarely{Every: time.Minute}, groups: map[string]Group{}}
}

// Load reads what the processes of the centre have put.
func (s *Service) Load(ctx context.Context) error {
	var l ledger
	if _, err := documents.Get(ctx, s.o.Table, ledgerName, &l); errors.Is(err, durable.ErrDamaged) {
		s.o.Table.NoteDamage(fmt.Sprintf("the rollout (document %s) cannot be read: no gateway is told anything; put it back from a backup", ledgerName))
		return err
	} else if err != nil {
		return err
	}
	groups := map[string]Group{}
	if l.Now != nil {
		err := s.o.Table.Documents(ctx, groupPrefix, func(name string, doc []byte) error {
			var g Group
			if err := documents.Open(name, doc, &g); err != nil {
				s.o.Table.NoteDamage(fmt.Sprintf("what gateways of a site were told of a release (document %s) cannot be read: put it back from a backup, or begin another rollout", name))
				g = Group{Rollout: l.Now.ID, Members: map[scan.DepotID]*Member{"": {}}} // one is under way for ever
			}
			groups[strings.TrimPrefix(name, groupPrefix)] = g
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger, s.groups = l, groups
	return nil
}

// Restored pauses what is on by a backup that is put back: it may have been halted since.
func Restored(ctx context.Context, t documents.Table, now time.Time) error {
	_, err := documents.Change(ctx, t, ledgerName, func(l *ledger) (bool, error) {
		on := l.Now != nil && (l.Now.State == Running || l.Now.State == Done)
		if on {
			l.Now.become(Paused, now.UTC())
			l.Now.Why = whyRestored
		}
		return on, nil
	})
	return err
}

// refresh is Load where others may have put something since.
func (s *Service) refresh(ctx context.Context) error {
	if s.o.Alone {
		return nil
	}
	return s.Load(ctx)
}

// Active reports whether there is anything to tell.
func (s *Service) Active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.Now != nil
}

// now is the rollout that is on, and a depot's group.
func (s *Service) now(key string) (*Rollout, Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger.Now == nil {
		return nil, Group{}
	}
	r := *s.ledger.Now
	return &r, s.groups[key].of(r.ID)
}

// Hear takes what a depot said with a sync, and gives what it is to do. Where that cannot
// be kept nothing is.
func (s *Service) Hear(ctx context.Context, d Depot) directive.Directives {
	key := d.key()
	r, g := s.now(key)
	if r == nil {
		return directive.Directives{}
	}
	if _, changed, want := r.Hear(g, &d, s.o.Now()); !changed {
		return want
	}
	var want directive.Directives
	var before, after *Member
	g, err := documents.Change(ctx, s.o.Table, groupPrefix+key, func(g *Group) (changed bool, _ error) {
		*g = g.of(r.ID)
		before = g.Members[d.ID]
		*g, changed, want = r.Hear(*g, &d, s.o.Now())
		after = g.Members[d.ID]
		return changed, nil
	})
	if err != nil {
		s.tell("keep what a gateway was told of a release", err)
		return directive.Directives{}
	}
	s.mu.Lock()
	if s.ledger.Now != nil && s.ledger.Now.ID == r.ID {
		s.groups[key] = g
	}
	s.mu.Unlock()
	if after != nil && after.Result == Failed && (before == nil || before.Result != Failed) {
		s.o.Logger.Warn("a gateway failed with a release", "depot", string(d.ID), "version", r.Version, "why", after.Why)
		s.note(centre, "rollout.failed", string(d.ID), r, after.Why)
	}
	return want
}

func (s *Service) tell(what string, err error) {
	if more, due := s.failed.Due(s.o.Now()); due {
		s.o.Logger.Error(what, "error", err, "failed_since_last_line", more)
	}
}

// Actor is who does something, and from where.
type Actor struct{ Who, From string }

var centre = Actor{Who: "the centre"}

func (s *Service) note(by Actor, action, depot string, r *Rollout, detail string) {
	err := s.o.Audit.Add(audit.Entry{Who: by.Who, From: by.From, Action: action, Depot: depot, Result: audit.OK, Detail: strings.TrimSpace(r.Version + " " + detail)})
	if err != nil {
		s.o.Logger.Error("write the audit log", "action", action, "error", err)
	}
}

// Run moves the rollout on until ctx ends.
func (s *Service) Run(ctx context.Context) {
	for {
		if err := s.Step(ctx); err != nil && ctx.Err() == nil {
			s.tell("look at the rollout", err)
		}
		if !wait.Sleep(ctx, every) {
			return
		}
	}
}

// Step looks at the rollout once.
func (s *Service) Step(ctx context.Context) error {
	if err := s.refresh(ctx); err != nil || !s.Active() {
		return err
	}
	fleet, err := s.o.Fleet(ctx)
	if err != nil {
		return err
	}
	now, happened := s.o.Now(), ""
	// A process that stands by hears nobody: to it all are away.
	sure := now.Sub(s.began) >= settled && slices.ContainsFunc(fleet, func(d Depot) bool { return !d.Away })
	var list []Counts
	l, err := documents.Change(ctx, s.o.Table, ledgerName, func(l *ledger) (bool, error) {
		if l.Now == nil {
			return false, nil
		}
		list = l.Now.count(fleet, s.member(l.Now.ID))
		if happened = l.Now.judge(list, now, sure); happened != "" {
			l.N++
		}
		return happened != "", nil
	})
	if err != nil {
		return err
	}
	s.keep(l)
	if happened != "" {
		detail := cmp.Or(l.Now.Why, fmt.Sprintf("ring %d of %d", l.Now.Ring, len(l.Now.Rings)))
		s.o.Logger.Info("rollout", "version", l.Now.Version, "happened", happened, "what", detail)
		s.note(centre, "rollout."+happened, "", l.Now, detail)
	}
	return nil
}

// keep takes the ledger where it is no older than what is known.
func (s *Service) keep(l ledger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.N >= s.ledger.N {
		s.ledger = l
	}
}

// member finds what a depot was told.
func (s *Service) member(rollout string) func(*Depot) *Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	groups := make(map[scan.DepotID]*Member, len(s.groups))
	for _, g := range s.groups {
		for id, m := range g.of(rollout).Members {
			groups[id] = m
		}
	}
	return func(d *Depot) *Member { return groups[d.ID] }
}

// Errors that an operator is told.
var (
	ErrRefused = errors.New("refused")
	errNone    = fmt.Errorf("%w: there is no rollout", ErrRefused)
)

// Start begins a rollout.
func (s *Service) Start(ctx context.Context, by Actor, p Plan) (*Rollout, error) {
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if s.o.Releases == nil {
		return nil, fmt.Errorf("%w: this centre serves no releases: set updates.dir", ErrRefused)
	}
	list, err := s.o.Releases(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: the repository does not verify: %w", ErrRefused, err)
	}
	if !slices.ContainsFunc(list, func(t trust.Target) bool { return t.Version == p.Version }) {
		return nil, fmt.Errorf("%w: the repository has no version %s", ErrRefused, p.Version)
	}
	if err := s.canaries(ctx, &p); err != nil {
		return nil, err
	}
	now := s.o.Now().UTC()
	r := &Rollout{ID: rand.Text()[:12], Plan: p, By: by.Who, Begun: now, State: Running, Since: now, Ring: p.first(), Opened: now}
	_, err = s.change(ctx, func(l *ledger) error {
		if was := l.Now; was != nil {
			if was.State == Running || was.State == Paused {
				return fmt.Errorf("%w: the rollout of %s is %s: halt it first", ErrRefused, was.Version, was.State)
			}
			l.Past = slices.Insert(l.Past, 0, *was)
			l.Past = l.Past[:min(len(l.Past), maxPast)]
		}
		l.Now = r
		return nil
	})
	if err == nil {
		if err := s.mend(ctx); err != nil {
			s.tell("put records anew that cannot be read", err)
		}
		s.note(by, "rollout.start", "", r, fmt.Sprintf("rings %v, canaries %d, soak %s, halt at %g, labels %v, window %s", p.Rings, len(p.Canaries), r.soak(), p.HaltAt, p.Labels, p.Window))
	}
	return r, err
}

// canaries refuses those that are no depots: without them nothing would be tried before
// the first share.
func (s *Service) canaries(ctx context.Context, p *Plan) error {
	if len(p.Canaries) == 0 {
		return nil
	}
	fleet, err := s.o.Fleet(ctx)
	if err != nil {
		return err
	}
	for _, id := range p.Canaries {
		if !slices.ContainsFunc(fleet, func(d Depot) bool { return d.ID == id && !d.Revoked }) {
			return fmt.Errorf("%w: canary %s is no depot of this centre", ErrRefused, id)
		}
	}
	return nil
}

// mend puts an empty record in the place of each that cannot be read, as was said of it.
func (s *Service) mend(ctx context.Context) error {
	var broken []string
	err := s.o.Table.Documents(ctx, groupPrefix, func(name string, doc []byte) error {
		if documents.Open(name, doc, &Group{}) != nil {
			broken = append(broken, name)
		}
		return nil
	})
	for _, name := range broken {
		_, version, here := s.o.Table.Document(ctx, name)
		if here == nil {
			_, here = documents.Put(ctx, s.o.Table, map[string]int64{name: version}, map[string]any{name: Group{}})
		}
		if err = errors.Join(err, here); here == nil {
			s.mu.Lock()
			delete(s.groups, strings.TrimPrefix(name, groupPrefix))
			s.mu.Unlock()
		}
	}
	return err
}

// Actions of a person.
var actions = map[string]struct {
	from []string
	to   string
}{
	"pause":  {[]string{Running}, Paused},
	"resume": {[]string{Paused, Halted}, Running},
	"halt":   {[]string{Running, Paused, Done}, Halted},
	"back":   {[]string{Running, Paused, Halted, Done}, Back},
}

// Act does what a person says.
func (s *Service) Act(ctx context.Context, by Actor, action string) (*Rollout, error) {
	a, ok := actions[action]
	if !ok {
		return nil, fmt.Errorf("%w: %.20q is none of pause, resume, halt, back", ErrRefused, action)
	}
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	fleet, err := s.o.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	now := s.o.Now().UTC()
	l, err := s.change(ctx, func(l *ledger) error {
		r := l.Now
		if r == nil {
			return errNone
		}
		if !slices.Contains(a.from, r.State) {
			return fmt.Errorf("%w: the rollout of %s is %s: there is nothing to %s", ErrRefused, r.Version, r.State, action)
		}
		if action == "resume" {
			r.Forgiven = 0
			for _, c := range r.count(fleet, s.member(r.ID)) {
				r.Forgiven += c.Failed
			}
			r.Soaking = time.Time{}
		}
		if r.become(a.to, now); action == "halt" {
			r.Why = whyBy + by.Who
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.note(by, "rollout."+action, "", l.Now, "")
	return l.Now, nil
}

func (s *Service) change(ctx context.Context, fn func(*ledger) error) (ledger, error) {
	l, err := documents.Change(ctx, s.o.Table, ledgerName, func(l *ledger) (bool, error) { l.N++; return true, fn(l) })
	if err == nil {
		s.keep(l)
	}
	return l, err
}

// View is a rollout as it is shown.
type View struct {
	Rollout
	Counts []Counts      `json:"counts"`
	All    Counts        `json:"all"`
	Needs  []string      `json:"needs"`          // where a person must look or decide
	Trips  []FailedDepot `json:"failed_depots"`  // some of them
	Silent []string      `json:"silent_depots"`  // told, and away since; some of them
	Next   *time.Time    `json:"next,omitempty"` // when the soak ends
}

// FailedDepot is a gateway that failed, and why.
type FailedDepot struct {
	ID  scan.DepotID `json:"id"`
	Why string       `json:"why"`
}

// maxShown bounds lists of depots that are shown.
const maxShown = 20

// Now is the rollout that is on, or was the last; nil: there was none. It is as this process
// has it: people who look cost the store nothing.
func (s *Service) Now(ctx context.Context) (*View, []Rollout, error) {
	s.mu.Lock()
	l := s.ledger
	s.mu.Unlock()
	if l.Now == nil {
		return nil, l.Past, nil
	}
	fleet, err := s.o.Fleet(ctx)
	if err != nil {
		return nil, nil, err
	}
	member := s.member(l.Now.ID)
	v := &View{Rollout: *l.Now, Counts: l.Now.count(fleet, member), Needs: []string{}, Trips: []FailedDepot{}, Silent: []string{}}
	for _, c := range v.Counts {
		v.All.add(c)
	}
	v.Needs = append(v.Needs, l.Now.needs(v.Counts, s.o.Now())...)
	for i := range fleet {
		m := member(&fleet[i])
		if m != nil && m.Result == Failed && len(v.Trips) < maxShown {
			v.Trips = append(v.Trips, FailedDepot{fleet[i].ID, m.Why})
		}
		if m != nil && m.Result == "" && fleet[i].Away && len(v.Silent) < maxShown {
			v.Silent = append(v.Silent, string(fleet[i].ID))
		}
	}
	if !v.Soaking.IsZero() {
		end := v.Soaking.Add(v.soak())
		v.Next = &end
	}
	return v, l.Past, nil
}
