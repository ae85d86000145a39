package presence

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/health"
)

// silentAfter is when a depot counts as away.
const silentAfter = 30 * time.Second

// Member is what a depot's last sync said.
type Member struct {
	Last    time.Time // zero: not heard of
	Version string
	OSArch  string
	Epoch   string
	Away    bool
	Health  *health.Report // nil: it said nothing; its alarms are below
	Alarms  []Alarm
	Update  *directive.UpdateState // nil: it said nothing
	Config  *directive.ConfigState
}

// Alarm is one that the depot raises, and since when.
type Alarm struct {
	Kind  string
	Since time.Time
}

// Presence is kept in the memory of one process.
type Presence struct {
	now func() time.Time

	mu      sync.Mutex
	members map[scan.DepotID]Member // guarded by mu
}

// New knows these depots, none of which was heard of.
func New(depots []scan.DepotID, now func() time.Time) *Presence {
	p := &Presence{now: now, members: map[scan.DepotID]Member{}}
	for _, id := range depots {
		p.members[id] = Member{}
	}
	return p
}

// maxText bounds each text that a depot says of itself, in bytes.
const maxText = 40

// short is a copy, for a part of a long text keeps all of it in memory. A version or a
// machine's kind is in ASCII: what is not may be anything, a name too.
func short(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.Clone(text[:min(len(text), maxText)]))
}

// Heard notes a depot's sync.
func (p *Presence) Heard(_ context.Context, id scan.DepotID, req *syncapi.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := Member{Last: p.now(), Version: short(req.Agent), OSArch: short(req.OSArch), Epoch: req.Epoch}
	if was := p.members[id]; req.Health == nil && was.Version == m.Version { // as where a new key is proven
		m.OSArch, m.Health, m.Alarms, m.Update, m.Config = was.OSArch, was.Health, was.Alarms, was.Update, was.Config
	}
	if req.Update != nil {
		u := req.Update.Bounded()
		m.Update = &u
	}
	if req.Config != nil {
		s := req.Config.Bounded()
		m.Config = &s
	}
	if req.Health != nil {
		h := req.Health.Bounded()
		alarms := h.Alarms
		h.Alarms = nil
		m.Health = &h
		was := p.members[id].Alarms
		for _, kind := range alarms {
			a := Alarm{kind, m.Last}
			if i := slices.IndexFunc(was, func(b Alarm) bool { return b.Kind == a.Kind }); i >= 0 {
				a.Since = was[i].Since
			}
			m.Alarms = append(m.Alarms, a)
		}
	}
	p.members[id] = m
	return nil
}

// Members returns all depots as they are now.
func (p *Presence) Members(context.Context) (map[scan.DepotID]Member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := maps.Clone(p.members)
	for id, m := range out {
		out[id] = p.judged(m)
	}
	return out, nil
}

// Connected is how many of them were heard of lately.
func (p *Presence) Connected(context.Context) (n int, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		if !p.judged(m).Away {
			n++
		}
	}
	return n, nil
}

// Member returns one of them as it is now.
func (p *Presence) Member(_ context.Context, id scan.DepotID) (Member, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.members[id]
	return p.judged(m), ok, nil
}

func (p *Presence) judged(m Member) Member {
	m.Away = p.now().Sub(m.Last) > silentAfter
	return m
}

// Watch says in the log which depots have fallen silent, until ctx ends.
func (p *Presence) Watch(ctx context.Context, log *slog.Logger) {
	here := map[scan.DepotID]bool{}
	for wait.Sleep(ctx, silentAfter/3) {
		members, _ := p.Members(ctx) // memory never fails
		for _, id := range slices.SortedFunc(maps.Keys(members), cmp.Compare[scan.DepotID]) {
			if members[id].Away && here[id] {
				log.Warn("depot has fallen silent", "depot", string(id))
			}
			here[id] = !members[id].Away
		}
	}
}
