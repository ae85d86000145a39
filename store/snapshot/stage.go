package snapshot

import (
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
)

func unix(t int64) time.Time { return time.Unix(t, 0).UTC() }

// tail is what is committed to the log and perhaps not merged yet. The committer
// alone adds to it, the merger alone takes away.
type tail struct {
	mu       sync.RWMutex
	waybills map[scan.WaybillID]*state
	answers  map[triple]answerValue
	bindings map[phoneKey]bindingValue
	// depots holds all depots, merged or not.
	depots map[scan.DepotID]*depotState
	last   uint64 // highest number published
}

func newTail() tail {
	return tail{
		waybills: map[scan.WaybillID]*state{}, answers: map[triple]answerValue{},
		bindings: map[phoneKey]bindingValue{}, depots: map[scan.DepotID]*depotState{},
	}
}

func (t *tail) state(id scan.WaybillID) *state {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.waybills[id]
}

func (t *tail) answer(k triple) (answerValue, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a, ok := t.answers[k]
	return a, ok
}

func (t *tail) binding(k phoneKey) (bindingValue, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, ok := t.bindings[k]
	return v, ok
}

func (t *tail) depot(id scan.DepotID) *depotState {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.depots[id]
}

func (t *tail) lastNumber() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// stage is what one group of requests changes, on top of the tail and the
// merged state. Nobody else sees it until it is published, after the commit.
type stage struct {
	b        *Bolt
	tx       *bolt.Tx                  // reads waybills.db
	next     uint64                    // number of the next record
	frozen   bool                      // replaying behind a damaged record: have stays
	read     map[scan.WaybillID]*state // merged states read; nil: none
	waybills map[scan.WaybillID]*state
	answers  map[triple]answerValue
	bindings map[phoneKey]bindingValue
	depots   map[scan.DepotID]*depotState
	records  [][]byte
}

func newStage(b *Bolt, tx *bolt.Tx, next uint64) *stage {
	return &stage{
		b: b, tx: tx, next: next,
		read: map[scan.WaybillID]*state{}, waybills: map[scan.WaybillID]*state{}, answers: map[triple]answerValue{},
		bindings: map[phoneKey]bindingValue{}, depots: map[scan.DepotID]*depotState{},
	}
}

// state returns a waybill's state as the group sees it; nil: never heard of.
func (s *stage) state(id scan.WaybillID) *state {
	if st, ok := s.waybills[id]; ok {
		return st
	}
	if st := s.b.tail.state(id); st != nil {
		return st
	}
	if st, ok := s.read[id]; ok {
		return st
	}
	st := s.b.mergedState(s.tx, id)
	s.read[id] = st
	return st
}

// edit returns the state to change.
func (s *stage) edit(id scan.WaybillID) *state {
	if st, ok := s.waybills[id]; ok {
		return st
	}
	st := s.state(id).clone()
	s.waybills[id] = st
	return st
}

func (s *stage) answer(k triple) (answerValue, bool) {
	if a, ok := s.answers[k]; ok {
		return a, true
	}
	return s.b.storedAnswer(s.tx, k)
}

func (s *stage) depot(id scan.DepotID) *depotState {
	if d, ok := s.depots[id]; ok {
		return d
	}
	return s.b.tail.depot(id)
}

func (s *stage) editDepot(id scan.DepotID) *depotState {
	if d, ok := s.depots[id]; ok {
		return d
	}
	d := s.b.tail.depot(id).clone()
	s.depots[id] = d
	return d
}

// add writes a record down for the commit and applies it.
func (s *stage) add(r *record) (span, bool) {
	s.records = append(s.records, r.encode())
	return s.apply(r)
}

// apply puts a record's effects in under the next number. It is the only way in
// which state changes, live and at start.
func (s *stage) apply(r *record) (gap span, found bool) {
	number := s.next
	s.next++
	switch r.kind {
	case recEvent:
		if st := s.state(r.waybill); st == nil || st.applied < number {
			st = s.edit(r.waybill)
			st.takeNode(r.node, r.at)
			st.applied = number
		}
		fallthrough
	case recMark:
		s.answers[r.triple()] = answerValue{ident: r.ident, result: r.result, at: r.at}
		if !s.frozen {
			gap, found = s.editDepot(r.depot).take(r, number)
		}
	case recData:
		if st := s.state(r.waybill); st == nil || st.applied < number {
			st = s.edit(r.waybill)
			st.takeData(*r.data, r.imported, r.at)
			st.applied = number
		}
	case recBinding:
		s.bindings[r.phone] = r.binding
	}
	return gap, found
}

// publish shows the stage to everyone.
func (s *stage) publish() {
	t := &s.b.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, v := range s.waybills {
		t.waybills[k] = v
	}
	for k, v := range s.answers {
		t.answers[k] = v
	}
	for k, v := range s.bindings {
		t.bindings[k] = v
	}
	for k, v := range s.depots {
		t.depots[k] = v
	}
	t.last = s.next - 1
}
