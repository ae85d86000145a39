package presence

import (
	"sync"

	"scanrelay/agent/scan"
)

// maxEpochs bounds those of a depot, which takes a new one in years.
const maxEpochs = 16

// Finished remembers, in the memory of one process, up to which number depots have
// ended their events. Who asks for one of these has a copy of the store, or lost that it
// had ended: it must not be pushed again. What is forgotten makes nobody wait.
type Finished struct {
	mu    sync.Mutex
	below map[scan.DepotID]map[uint64]uint64 // by epoch; guarded by mu
}

// Heard notes what a depot's store says.
func (f *Finished) Heard(depot scan.DepotID, epoch, below uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.below[depot]
	if of == nil || of[epoch] == 0 && len(of) >= maxEpochs {
		of = map[uint64]uint64{}
	}
	if of[epoch] = max(of[epoch], below); f.below == nil {
		f.below = map[scan.DepotID]map[uint64]uint64{}
	}
	f.below[depot] = of
}

// Has reports whether an event that came under an epoch has ended.
func (f *Finished) Has(depot scan.DepotID, epoch, seq uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return seq < f.below[depot][epoch]
}
