package limit

import "sync"

// Places are so many that all may take at once, and of these so many each one. Its methods
// may be called concurrently.
type Places struct {
	all, each int

	mu    sync.Mutex
	taken map[string]int // guarded by mu, as is what follows
	n     int
}

// NewPlaces returns places of which none is taken.
func NewPlaces(all, each int) *Places {
	return &Places{all: all, each: each, taken: map[string]int{}}
}

// Take takes one, which leave gives back; not ok: there is none.
func (p *Places) Take(who string) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n >= p.all || p.taken[who] >= p.each {
		return nil, false
	}
	p.n++
	p.taken[who]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.n--
		if p.taken[who]--; p.taken[who] == 0 {
			delete(p.taken, who)
		}
	}, true
}

// Taken is how many are.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
