package shares

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/uplink/central/documents"
)

// Of several processes each shares out a part of the rate, by how many depots it hears. What
// each may hand out, or has, it claims in one record that all write, each on what the others
// have written; so the claims never come to more than the rate, whoever dies.
const (
	claimsName = "shares"
	claimEvery = 2 * time.Second
	// claimLife is when the claim of a process that says nothing more falls to the others;
	// it stops handing out well before.
	claimLife = shareLife + 10*time.Second
	heldLife  = 10 * time.Second
	// Of the rate spare is left out, so that a process may have leastClaim at any moment:
	// no depot must be told of a rate of 0, which means that there is no bound.
	spare      = 0.02
	leastClaim = spare / 20
)

type claims struct {
	Of map[string]claim `json:"of"`
}

type claim struct {
	Beat   uint64  `json:"beat"` // another one with each turn
	Rate   float64 `json:"rate"`
	Depots int     `json:"depots"`
}

// Processes keeps the part of one process. Run it.
type Processes struct {
	shares *Shares
	table  documents.Table
	log    *slog.Logger
	name   string
	failed wait.Rarely

	seen  map[string]beat // of the others
	wrote time.Time       // when our claim was last written
}

// beat is one that was seen, and since when.
type beat struct {
	beat uint64
	at   time.Time
}

// Among makes the part of one process; until it has one it hands out next to nothing.
func Among(s *Shares, table documents.Table, log *slog.Logger) *Processes {
	p := &Processes{shares: s, table: table, log: log, name: rand.Text(), failed: wait.Rarely{Every: time.Minute}, seen: map[string]beat{}}
	s.bound(0)
	return p
}

// Run claims a part until ctx ends, and gives it back then.
func (p *Processes) Run(ctx context.Context) {
	for {
		if err := p.turn(ctx); err != nil && ctx.Err() == nil {
			if more, due := p.failed.Due(p.shares.now()); due {
				p.log.Error("share the rate with other processes", "error", err, "failed_since_last_line", more)
			}
			if p.shares.now().Sub(p.wrote) > heldLife {
				p.shares.bound(0) // the others take it for dead
			}
		}
		if !wait.Sleep(ctx, claimEvery) {
			p.leave(ctx)
			return
		}
	}
}

// leaveLimit is how long a stop waits for the table.
const leaveLimit = 2 * time.Second

// leave gives the part back: depots call another process, or this one's next, with their
// next sync.
func (p *Processes) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveLimit)
	defer cancel()
	p.shares.bound(0)
	_, err := documents.Change(ctx, p.table, claimsName, func(c *claims) (bool, error) {
		_, ours := c.Of[p.name]
		delete(c.Of, p.name)
		return ours, nil
	})
	if err != nil {
		p.log.Warn("this process' part of the rate falls to the others later", "after", claimLife, "error", err)
	}
}

// turn claims what is this process' part now.
func (p *Processes) turn(ctx context.Context) error {
	var part float64
	_, err := documents.Change(ctx, p.table, claimsName, func(c *claims) (bool, error) {
		others, depots := p.others(c)
		whole := p.shares.fleet() * (1 - spare)
		held, mine := p.shares.state()
		part = max(0, min(whole*float64(mine+1)/float64(depots+mine+1), whole-others))
		if held > part { // what was handed out is not free before it was given back
			p.shares.bound(part)
			held, _ = p.shares.state()
		}
		c.Of[p.name] = claim{Beat: c.Of[p.name].Beat + 1, Rate: max(part, held), Depots: mine}
		return true, nil
	})
	if err != nil {
		return err
	}
	p.wrote = p.shares.now()
	p.shares.bound(part)
	return nil
}

// others drops the claims of those that say nothing more, and sums up the rest.
func (p *Processes) others(c *claims) (rate float64, depots int) {
	if c.Of == nil {
		c.Of = map[string]claim{}
	}
	now := p.shares.now()
	for name, k := range c.Of {
		if name == p.name {
			continue
		}
		was, known := p.seen[name]
		if !known || was.beat != k.Beat {
			was = beat{k.Beat, now}
			p.seen[name] = was
		}
		if now.Sub(was.at) > claimLife {
			delete(c.Of, name)
			delete(p.seen, name)
			continue
		}
		rate += k.Rate
		depots += k.Depots + 1
	}
	return rate, depots
}

// bound keeps what is shared out within a part of the rate.
func (s *Shares) bound(part float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.part = max(part, s.whole*leastClaim)
	s.boundLocked()
}

// fleet is the rate of all.
func (s *Shares) fleet() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole
}

// state is what depots have now, and how many they are.
func (s *Shares) state() (held float64, depots int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silentLocked(s.now())
	return s.held, s.heard.Len()
}
