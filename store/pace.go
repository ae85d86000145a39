package store

import (
	"math"
	"time"
)

const (
	// linger is how long a commit waits for more scans while these come at a pace at
	// which some do: a commit costs the flash as much for one as for ten, and no
	// scanner notices.
	linger = 40 * time.Millisecond
	// lingerAlone is how long of it does not count: who waits for an acknowledgement
	// before the next scan has sent that by then, and nobody else comes.
	lingerAlone = linger / 4
	// Scans a second between which it is worth it: below, nobody comes, and above,
	// many come while a commit is written.
	lingerFrom, lingerTo = 20, 600
	// maxSkip bounds how many commits in a row don't wait since nobody came.
	maxSkip = 63
)

// pace is how fast scans come. It is the committer's alone.
type pace struct {
	recent  float64 // scans, each fading away within about a second
	at      time.Time
	skip    int // commits that don't wait yet
	penalty int // the skip after the next wait for nobody
}

// count counts the scans in what is committed: many may have come in one op.
func (p *pace) count(ops []op, now time.Time) {
	scans := 0
	for _, o := range ops {
		if a, ok := o.(*appendOp); ok {
			scans += len(a.events)
		}
	}
	p.recent, p.at = p.rate(now)+float64(scans), now
}

// rate is how many come in a second, about.
func (p *pace) rate(now time.Time) float64 {
	return p.recent * math.Exp(-now.Sub(p.at).Seconds())
}

// worthwhile reports whether a commit should wait for more scans.
func (p *pace) worthwhile(now time.Time) bool {
	if r := p.rate(now); r < lingerFrom || r > lingerTo {
		return false
	}
	if p.skip > 0 {
		p.skip--
		return false
	}
	return true
}

// lingered hears whether somebody came.
func (p *pace) lingered(company bool) {
	if company {
		p.penalty = 0
		return
	}
	p.penalty = min(2*p.penalty+1, maxSkip)
	p.skip = p.penalty
}
