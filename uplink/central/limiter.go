package central

import (
	"container/list"
	"sync"
	"time"
)

// maxBuckets bounds a limiter's memory; the bucket unused for longest goes.
const maxBuckets = 100_000

// limiter is a token bucket for each key: Count calls at once, refilled over Per.
type limiter struct {
	limit   Limit
	mu      sync.Mutex
	buckets map[string]*list.Element // of *bucket; guarded by mu
	order   *list.List               // newest first; guarded by mu
}

type bucket struct {
	key  string
	left float64
	at   time.Time
}

func newLimiter(l Limit) *limiter {
	return &limiter{limit: l, buckets: map[string]*list.Element{}, order: list.New()}
}

// allow takes one call from the key's bucket, and reports whether there was
// one; if not, how long until there is.
func (l *limiter) allow(key string, now time.Time) (bool, time.Duration) {
	if l.limit.Count <= 0 || l.limit.Per <= 0 {
		return false, time.Minute
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucketLocked(key, now)
	perSecond := float64(l.limit.Count) / l.limit.Per.Seconds()
	b.left = min(float64(l.limit.Count), b.left+max(0, now.Sub(b.at).Seconds())*perSecond)
	b.at = now
	if b.left < 1 {
		return false, time.Duration((1 - b.left) / perSecond * float64(time.Second))
	}
	b.left--
	return true, 0
}

func (l *limiter) bucketLocked(key string, now time.Time) *bucket {
	if e, ok := l.buckets[key]; ok {
		l.order.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if l.order.Len() >= maxBuckets {
		oldest := l.order.Back()
		delete(l.buckets, oldest.Value.(*bucket).key)
		l.order.Remove(oldest)
	}
	b := &bucket{key: key, left: float64(l.limit.Count), at: now}
	l.buckets[key] = l.order.PushFront(b)
	return b
}
