package limit

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Keyed has a token bucket for each key. Its methods may be called concurrently.
type Keyed struct {
	limit       rate.Limit
	burst, most int

	mu    sync.Mutex
	each  map[string]*list.Element // of *entry; guarded by mu
	order *list.List               // the last used first; guarded by mu
}

type entry struct {
	key    string
	bucket *rate.Limiter
}

// New returns buckets of burst tokens, refilled at perSecond, for at most that
// many keys, one at least. Without burst nothing is ever allowed.
func New(perSecond float64, burst, most int) *Keyed {
	return &Keyed{limit: rate.Limit(perSecond), burst: burst, most: max(1, most), each: map[string]*list.Element{}, order: list.New()}
}

// Of returns the key's bucket, for a caller that keeps it.
func (k *Keyed) Of(key string) *rate.Limiter {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.each[key]; ok {
		k.order.MoveToFront(e)
		return e.Value.(*entry).bucket
	}
	if k.order.Len() >= k.most {
		oldest := k.order.Remove(k.order.Back()).(*entry)
		delete(k.each, oldest.key)
	}
	e := &entry{key: key, bucket: rate.NewLimiter(k.limit, k.burst)}
	k.each[key] = k.order.PushFront(e)
	return e.bucket
}

// Has reports whether the key has a bucket already.
func (k *Keyed) Has(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.each[key]
	return ok
}

// Allow takes a token of the key's bucket and reports whether there was one; if
// not, how long until there is, and a minute where there never will be.
func (k *Keyed) Allow(key string, now time.Time) (ok bool, wait time.Duration) {
	bucket := k.Of(key)
	switch {
	case bucket.AllowN(now, 1):
		return true, 0
	case k.burst < 1 || k.limit <= 0:
		return false, time.Minute
	}
	return false, time.Duration((1 - bucket.TokensAt(now)) / float64(k.limit) * float64(time.Second))
}
