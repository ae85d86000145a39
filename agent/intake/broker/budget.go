package broker

import "sync"

// budget bounds bytes over all connections: those that wait for their commit, those
// of large packets that are being read.
type budget struct {
	max int64

	mu   sync.Mutex
	used int64         // guarded by mu
	fell chan struct{} // closed when used falls; nil: nobody waits for it; guarded by mu
}

func newBudget(limit int64) *budget { return &budget{max: limit} }

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

// await takes n bytes once they are free. false: gone was closed before.
func (b *budget) await(n int64, gone <-chan struct{}) bool {
	for {
		more := b.more()
		if b.take(n) {
			return true
		}
		select {
		case <-more:
		case <-gone:
			return false
		}
	}
}

// give gives n bytes back. It does not block.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.fell != nil {
		close(b.fell)
		b.fell = nil
	}
}

// more returns a channel that is closed when bytes are given back from now on.
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
