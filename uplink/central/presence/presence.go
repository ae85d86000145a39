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
	Last    time.Time `json:"-"` // zero: not heard of
	Version string    `json:"version,omitempty"`
	OSArch  string    `json:"os_arch,omitempty"`
	Epoch   string    `json:"epoch,omitempty"`
	Away    bool      `json:"-"`
	// Refused is since when nothing that it sends is taken; zero: it is.
	Refused time.Time              `json:"refused,omitzero"`
	Health  *health.Report         `json:"health,omitempty"` // nil: it said nothing; its alarms are below
	Alarms  []Alarm                `json:"alarms,omitempty"`
	Update  *directive.UpdateState `json:"update,omitempty"` // nil: it said nothing
	Config  *directive.ConfigState `json:"config,omitempty"`
}

// Alarm is one that the depot raises, and since when.
type Alarm struct {
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"`
}

// Presence is what this process heard, and, where there is a table, what all of a centre did.
type Presence struct {
	now   func() time.Time
	table Table // nil: there is one process

	mu   sync.Mutex
	own  map[scan.DepotID]Member // guarded by mu: heard by this process
	rows map[scan.DepotID]Member // guarded by mu: as the table has them
	due  map[scan.DepotID]bool   // guarded by mu: heard and not in the table yet; true: it matters at once

	reading sync.Mutex // held by who reads the table; guards what follows
	read    time.Time  // when it was last read, by our clock
	since   time.Time  // and by the table's
}

// New knows these depots, none of which was heard of. A table, which may be nil, is what
// several processes share; it is read by Load.
func New(depots []scan.DepotID, table Table, now func() time.Time) *Presence {
	p := &Presence{now: now, table: table, own: map[scan.DepotID]Member{}, rows: map[scan.DepotID]Member{}, due: map[scan.DepotID]bool{}}
	for _, id := range depots {
		p.own[id] = Member{}
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
	was := p.latestLocked(id)
	m := Member{Last: p.now(), Version: short(req.Agent), OSArch: short(req.OSArch), Epoch: req.Epoch}
	if req.Health == nil && was.Version == m.Version { // as where a new key is proven
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
		for _, kind := range alarms {
			a := Alarm{kind, m.Last.Round(0)}
			if i := slices.IndexFunc(was.Alarms, func(b Alarm) bool { return b.Kind == a.Kind }); i >= 0 {
				a.Since = was.Alarms[i].Since
			}
			m.Alarms = append(m.Alarms, a)
		}
	}
	p.noteLocked(id, was, m)
	return nil
}

// Refused notes a depot of which a sync was not taken. req is what could be read of it, nil
// if nothing could; lasting tells that the next one will not be, either.
func (p *Presence) Refused(_ context.Context, id scan.DepotID, req *syncapi.Request, lasting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.latestLocked(id)
	m := was
	if m.Last = p.now(); lasting && m.Refused.IsZero() {
		m.Refused = m.Last.Round(0)
	}
	if req != nil {
		if m.Version = short(req.Agent); req.Update != nil {
			u := req.Update.Bounded()
			m.Update = &u
		}
	}
	p.noteLocked(id, was, m)
}

func (p *Presence) noteLocked(id scan.DepotID, was, m Member) {
	if p.own[id] = m; p.table != nil {
		p.due[id] = p.due[id] || matters(&was, &m)
	}
}

// matters reports whether the others are to know at once.
func matters(was, m *Member) bool {
	return was.Version != m.Version || was.Epoch != m.Epoch || was.Refused != m.Refused || !slices.Equal(was.Alarms, m.Alarms) ||
		!same(was.Update, m.Update) || !same(was.Config, m.Config)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// latestLocked is the last that any process heard of a depot, as far as is known here.
func (p *Presence) latestLocked(id scan.DepotID) Member {
	own, row := p.own[id], p.rows[id]
	if row.Last.After(own.Last) {
		return row
	}
	return own
}

// Members returns all depots as they are now, or, of what other processes heard, were a
// moment ago.
func (p *Presence) Members(ctx context.Context) (map[scan.DepotID]Member, error) {
	if err := p.refresh(ctx, readEvery); err != nil {
		return nil, err
	}
	return p.members(), nil
}

func (p *Presence) members() map[scan.DepotID]Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[scan.DepotID]Member, max(len(p.own), len(p.rows)))
	for _, all := range []map[scan.DepotID]Member{p.own, p.rows} {
		for id := range all {
			out[id] = p.judged(p.latestLocked(id))
		}
	}
	return out
}

// Connected is how many of them were heard of lately.
func (p *Presence) Connected(context.Context) (n int, _ error) {
	for _, m := range p.members() {
		if !m.Away {
			n++
		}
	}
	return n, nil
}

// Member returns one of them as it is now.
func (p *Presence) Member(ctx context.Context, id scan.DepotID) (Member, bool, error) {
	if err := p.readOne(ctx, id); err != nil {
		return Member{}, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, own := p.own[id]
	_, row := p.rows[id]
	return p.judged(p.latestLocked(id)), own || row, nil
}

func (p *Presence) judged(m Member) Member {
	m.Away = p.now().Sub(m.Last) > silentAfter
	return m
}

// Watch says in the log which depots have fallen silent, and gives other processes what
// this one heard, until ctx ends.
func (p *Presence) Watch(ctx context.Context, log *slog.Logger) {
	var writes sync.WaitGroup
	if p.table != nil {
		writes.Go(func() { p.writeLoop(ctx, log) })
	}
	here := map[scan.DepotID]bool{}
	for wait.Sleep(ctx, silentAfter/3) {
		members, err := p.Members(ctx)
		if err != nil {
			continue // who writes tells of it
		}
		for _, id := range slices.SortedFunc(maps.Keys(members), cmp.Compare[scan.DepotID]) {
			if members[id].Away && here[id] {
				log.Warn("depot has fallen silent", "depot", string(id))
			}
			here[id] = !members[id].Away
		}
	}
	writes.Wait()
}
