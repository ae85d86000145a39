package source

import (
	"crypto/sha256"
	"sync"

	"scanrelay/agent/intake"
	"scanrelay/agent/scan"
)

// maxRetained bounds how many messages a retained remembers.
const maxRetained = 1024

// retained remembers which messages that a broker keeps (retained) are in quarantine:
// it delivers them again after each reconnect, and every time they would push
// something else out. In another process, after a restart, they come once more.
type retained struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{} // guarded by mu
}

// take makes reads that are ignored of the rejects of a retained message that is in
// quarantine. The key is for add, once the batch is committed; nil: there is
// nothing to remember.
func (r *retained) take(m intake.Message, b *scan.Batch) *[sha256.Size]byte {
	if !m.Retained || len(b.Rejects) == 0 {
		return nil
	}
	key := sha256.Sum256(append([]byte(m.Topic+"\x00"), m.Payload...))
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.seen[key]; !again {
		return &key
	}
	b.Ignored += len(b.Rejects)
	b.Rejects = nil
	return nil
}

func (r *retained) add(key *[sha256.Size]byte) {
	if key == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil || len(r.seen) >= maxRetained {
		r.seen = make(map[[sha256.Size]byte]struct{})
	}
	r.seen[*key] = struct{}{}
}
