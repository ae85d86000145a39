package intake

import (
	"crypto/sha256"
	"sync"

	"scanrelay/agent/scan"
)

// maxKept bounds how many messages a kept remembers.
const maxKept = 1024

// kept remembers which messages that a broker keeps (retained) are in quarantine:
// it delivers them again after each reconnect, and every time they would push
// something else out. In another process, after a restart, they come once more.
type kept struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{} // guarded by mu
}

// take makes reads that are ignored of the rejects of a retained message that is in
// quarantine. The key is for add, once the batch is committed; nil: there is
// nothing to remember.
func (k *kept) take(h Heard, b *scan.Batch) *[sha256.Size]byte {
	if !h.Retained || len(b.Rejects) == 0 {
		return nil
	}
	key := sha256.Sum256(append([]byte(h.Topic+"\x00"), h.Payload...))
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, again := k.seen[key]; !again {
		return &key
	}
	b.Ignored += len(b.Rejects)
	b.Rejects = nil
	return nil
}

func (k *kept) add(key *[sha256.Size]byte) {
	if key == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen == nil || len(k.seen) >= maxKept {
		k.seen = make(map[[sha256.Size]byte]struct{})
	}
	k.seen[*key] = struct{}{}
}
