package bolt

import (
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// A store that was put back from a backup, or lost its end, knows nothing of a time.
// What depots sent meanwhile they send again; what was imported is missing.

// noteSpan remembers, at a start, when this store last took anything, and what an
// earlier start found. The time ends with the first call.
func (s *Store) noteSpan() {
	for _, d := range s.tail.Depots {
		for i := range d.Epochs {
			s.closed.From = max(s.closed.From, d.Epochs[i].At)
		}
	}
	if r := s.restored.Load(); r != nil {
		s.tellRestored(*r)
	}
}

// wasRestored notes that a depot says it was answered for what this store does not
// have. No depot alone can tell that the store was put back, unless it is alone.
func (s *Store) wasRestored(depot scan.DepotID) {
	if s.restored.Load() != nil || s.closed.From == 0 {
		return // a store that never took anything is no backup
	}
	if s.claims[depot] = struct{}{}; len(s.claims) < 2 && !judge.Alone(s.tail.Depots, depot) {
		s.damaged("depot %s says that it was answered for events which this store does not have; if another says so too, it was put back from a backup", depot)
		return
	}
	s.restored.Store(&s.closed)
	s.tellRestored(s.closed)
}

func (s *Store) tellRestored(r values.Span) {
	stamp := func(t int64) string { return time.Unix(t, 0).UTC().Format(time.RFC3339) }
	s.damaged("this store was put back from a backup, or lost its end: import again the waybill data that was imported between %s and %s",
		stamp(r.From), stamp(r.To))
}

func (s *Store) readRestored(meta *bbolt.Bucket) {
	if r, err := values.DecodeSpan(metaRestored, meta.Get(metaRestored)); err == nil {
		s.restored.Store(&r)
	}
}

func (s *Store) writeRestored(meta *bbolt.Bucket) error {
	r := s.restored.Load()
	if r == nil {
		return nil
	}
	if s.horizon.At > r.To { // what was imported then would be forgotten by now
		return meta.Delete(metaRestored)
	}
	return meta.Put(metaRestored, values.EncodeSpan(metaRestored, *r))
}
