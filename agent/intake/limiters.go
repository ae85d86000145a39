package intake

import (
	"sync"

	"golang.org/x/time/rate"
)

// maxLimited bounds how many keys a limiters knows.
const maxLimited = 4096

// Connections of one address: so many a second in the long run, after as many at
// once as all clients need that come back together behind one router.
const connectsPerSecond = 50

// limiters limits what each of many does.
type limiters struct {
	limit rate.Limit
	burst int

	mu   sync.Mutex
	each map[string]*rate.Limiter // guarded by mu
}

func newLimiters(limit float64, burst int) *limiters {
	return &limiters{limit: rate.Limit(limit), burst: max(1, burst), each: make(map[string]*rate.Limiter)}
}

// of returns the limiter of one. Who was not seen for a while is forgotten when
// there are too many.
func (l *limiters) of(who string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.each[who]; one != nil {
		return one
	}
	if len(l.each) >= maxLimited {
		for other, one := range l.each {
			if one.Tokens() >= float64(l.burst) {
				delete(l.each, other)
			}
		}
	}
	if len(l.each) >= maxLimited {
		clear(l.each)
	}
	one := rate.NewLimiter(l.limit, l.burst)
	l.each[who] = one
	return one
}
