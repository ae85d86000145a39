package bolt

import (
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/judge"
)

// What depots' words come to, see judge.Lost, is in log.db before the depot is
// answered, which will not say so again; the next merge brings what is missing into
// waybills.db, where a restore notes it, too.

// noteLost tells, at a start, what an earlier one found.
func (s *Store) noteLost() {
	s.lost.Forget(s.horizon.At)
	if s.lost.Missing != (judge.Period{}) {
		s.tellRestored()
	}
}

// hear judges that a depot was answered for what this store does not have.
func (s *Store) hear(depot scan.DepotID, d *judge.Numbering, now time.Time) {
	heard, _ := s.lost.Hear(depot, d, now.Unix(), func() (bool, error) { return judge.Alone(s.tail.Depots, depot), nil }) // memory never fails
	s.unkept = s.unkept || heard != judge.Nothing
	switch heard {
	case judge.Claimed:
		s.damaged(judge.OneSays, depot)
	case judge.PutBack:
		s.tellRestored()
	}
}

func (s *Store) tellRestored() {
	missing := s.lost.Missing
	s.restored.Store(&missing)
	s.damaged("%s", missing.Tell())
}

// readLost reads what the log has of it.
func (s *Store) readLost(meta *bbolt.Bucket) {
	missing := s.lost.Missing
	s.lost = boltfile.ReadLost(meta)
	s.lost.Missing = s.lost.Missing.With(missing)
}

// writeRestored brings what is missing into waybills.db.
func (s *Store) writeRestored(meta *bbolt.Bucket) error {
	r := s.restored.Load()
	if r == nil {
		return nil
	}
	if s.horizon.At > r.To { // what was imported then would be forgotten by now
		return meta.Delete(metaRestored)
	}
	return boltfile.PutMissing(meta, *r)
}
