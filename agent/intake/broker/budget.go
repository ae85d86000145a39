package broker

import "sync"

// budget bounds the bytes that wait for their commit over all connections.
type budget struct {
	max int64

	mu   sync.Mutex
	used int64         // guarded by mu
	fell chan struct{} // closed when used falls; guarded by mu
}

func newBudget(limit int64) *budget {
	return &budget{max: limit, fell: make(chan struct{})}
}

// take takes n bytes if they are free. What is larger than everything gets
// through alone.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used > 0 && b.used+n > b.max {
		return false
	}
	b.used += n
	return true
}

// give gives n bytes back. It does not block.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	close(b.fell)
	b.fell = make(chan struct{})
}

// more returns a channel that is closed when bytes are given back from now on.
func (b *budget) more() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fell
}

func (b *budget) waiting() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
