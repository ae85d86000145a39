package presence

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
)

// silentAfter is when a depot counts as away.
const silentAfter = 30 * time.Second

// Member is what a depot's last sync said.
type Member struct {
	Last    time.Time // zero: not heard of
	Version string
	Epoch   string
	Away    bool
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

// Heard notes a depot's sync.
func (p *Presence) Heard(_ context.Context, id scan.DepotID, version, epoch string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members[id] = Member{Last: p.now(), Version: version[:min(len(version), 40)], Epoch: epoch}
	return nil
}

// Members returns all depots as they are now.
func (p *Presence) Members(context.Context) (map[scan.DepotID]Member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := maps.Clone(p.members)
	for id, m := range out {
		m.Away = p.now().Sub(m.Last) > silentAfter
		out[id] = m
	}
	return out, nil
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
