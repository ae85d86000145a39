package central

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi"
)

// silentAfter is when a depot counts as away: idle ones sync every 5 s.
const silentAfter = 30 * time.Second

// fleet knows when each depot was last heard of since this process started.
type fleet struct {
	mu      sync.Mutex
	members map[scan.DepotID]*member
	refused int       // since the last line in the log; guarded by mu
	logged  time.Time // when that was; guarded by mu
}

type member struct {
	last    time.Time
	version string
	epoch   string
	backlog int64
	away    bool
}

func newFleet(depots []Depot) *fleet {
	f := &fleet{members: map[scan.DepotID]*member{}}
	for _, d := range depots {
		f.members[d.ID] = &member{away: true}
	}
	return f
}

// heard notes a depot's sync.
func (f *fleet) heard(id scan.DepotID, req *syncapi.Request, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[id]
	if m == nil {
		m = &member{}
		f.members[id] = m
	}
	m.last, m.epoch, m.backlog, m.away = now, req.Epoch, req.Backlog, false
	m.version = cut(req.Agent, 40)
}

func cut(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}

// refuse logs refused credentials, at most once a minute.
func (f *fleet) refuse(log *slog.Logger, now time.Time, address, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused++
	if now.Sub(f.logged) < time.Minute {
		return
	}
	log.Warn("refused a depot", "why", why, "address", address, "refused_since_last_line", f.refused)
	f.refused, f.logged = 0, now
}

// silent returns depots that have just fallen silent.
func (f *fleet) silent(now time.Time) []scan.DepotID {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []scan.DepotID
	for id, m := range f.members {
		if !m.away && now.Sub(m.last) > silentAfter {
			m.away = true
			out = append(out, id)
		}
	}
	slices.SortFunc(out, cmp.Compare[scan.DepotID])
	return out
}

// connected counts the depots that were heard of lately.
func (f *fleet) connected(now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, m := range f.members {
		if !m.last.IsZero() && now.Sub(m.last) <= silentAfter {
			n++
		}
	}
	return n
}

// copy returns all members as they are now.
func (f *fleet) copy() map[scan.DepotID]member {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[scan.DepotID]member, len(f.members))
	for id, m := range f.members {
		out[id] = *m
	}
	return out
}

// watchLoop says in the log which depots have fallen silent.
func (c *Central) watchLoop(ctx context.Context) {
	for wait.Sleep(ctx, silentAfter/3) {
		for _, id := range c.fleet.silent(c.o.Now()) {
			c.o.Logger.Warn("depot has fallen silent", "depot", string(id))
		}
	}
}
