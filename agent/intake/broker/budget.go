package broker

import "sync"

// budget bounds what all connections take together, and those of one address, so that
// there is something left for others: bytes that wait for their commit, bytes of large
// packets that are being read, messages that are being mapped.
type budget struct {
	max, share int64

	mu   sync.Mutex
	used int64            // guarded by mu
	of   map[string]int64 // used, by address; guarded by mu
	fell chan struct{}    // closed when used falls; nil: nobody waits for it; guarded by mu
}

func newBudget(limit, share int64) *budget {
	return &budget{max: limit, share: share, of: make(map[string]int64)}
}

// take takes n if they are free. What is larger than everything gets through alone.
func (b *budget) take(host string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if mine := b.of[host]; b.used > 0 && b.used+n > b.max || mine > 0 && mine+n > b.share {
		return false
	}
	b.add(host, n)
	return true
}

// await takes n once they are free. false: gone was closed before.
func (b *budget) await(host string, n int64, gone <-chan struct{}) bool {
	for !b.take(host, n) {
		more := b.more()
		if b.take(host, n) {
			return true
		}
		select {
		case <-more:
		case <-gone:
			return false
		}
	}
	return true
}

// free reports whether there is anything left.
func (b *budget) free(host string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used < b.max && b.of[host] < b.share
}

// exceed takes n, free or not.
func (b *budget) exceed(host string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(host, n)
}

// add takes n. The caller holds mu.
func (b *budget) add(host string, n int64) {
	b.used += n
	b.of[host] += n
}

// give gives n back. It does not block.
func (b *budget) give(host string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.of[host] -= n; b.of[host] <= 0 {
		delete(b.of, host)
	}
	if b.fell != nil {
		close(b.fell)
		b.fell = nil
	}
}

// more returns a channel that is closed when something is given back from now on.
func (b *budget) more() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fell == nil {
		b.fell = make(chan struct{})
	}
	return b.fell
}

func (b *budget) waiting() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
