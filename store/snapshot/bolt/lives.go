package bolt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// join puts files together that went on apart, as where a copy of both was used for a
// while and one of them is put back beside the other: under the same numbers they have
// other records. What the log has and waybills.db does not is added behind all that
// either has; what was in neither the depots send again, and what was imported then is
// missing, as after a backup was put back. The log is kept as it was.
func (s *Store) join(lives boltfile.Lives, last uint64) (start uint64, hole bool, _ error) {
	merged, now := s.merged.Load(), s.o.Now().Unix()
	at := min(merged, last)
	from := min(s.tail.lives.Of(at).At, lives.Of(at).At)
	if last := judge.Last(s.tail.Depots); last > 0 {
		from = min(from, last)
	}
	jump := max(merged, last) + logJump
	g := judge.NewGroup(judge.NewFacts(), s.phoneSecret, jump+1)
	g.Facts.Depots = s.tail.Depots
	var why error
	unopened := 0
	_, err := readFile(s.file, func(r *boltpage.Finder) (none struct{}, _ error) {
		return none, s.log.db.View(func(log *bbolt.Tx) error {
			return log.Bucket(bucketLog).ForEach(func(k, v []byte) error {
				if n := binary.BigEndian.Uint64(k); n <= merged && s.tail.lives.Of(n) == lives.Of(n) {
					return nil // waybills.db has it
				}
				err := s.adopt(g, r, k, v)
				if errors.Is(err, datakey.ErrKey) { // it stays in the log that is kept, and depots send theirs again
					unopened, why = unopened+1, cmp.Or(why, err)
					return nil
				}
				return err
			})
		})
	})
	if err != nil {
		return 0, false, fmt.Errorf("put %s and %s together: %w", waybillsName, logName, err)
	}
	g.Again(s.o.Now())
	records := make([]write, len(g.Records))
	for i, r := range g.Records {
		key := number(jump + 1 + uint64(i))
		records[i] = write{key: key, value: values.EncodeRecord(s.ring, key, r)}
	}
	s.lost = judge.Lost{Missing: s.lost.Missing.With(judge.Period{From: from, To: max(now, from+1)})}
	s.tail.lives, s.lives = s.tail.lives.Begin(jump+1, now), true
	kept, err := s.swapLog(jump, records, true)
	if err != nil {
		return 0, false, err
	}
	s.damaged("%s and %s are of two copies of one store that went on apart: they were put together, depots send again from the start; the log is kept as %s", waybillsName, logName, kept)
	if unopened > 0 {
		s.damaged("%d records of that log could not be decrypted: %v", unopened, why)
	}
	return jump + 1, false, s.setMerged(jump, false)
}

// adopt adds a record of the log to what waybills.db has. It was looked at before.
func (s *Store) adopt(g *judge.Group, r *boltpage.Finder, k, v []byte) error {
	rec, err := values.DecodeRecord(s.ring, k, v)
	if err != nil {
		return fmt.Errorf("record %d: %w", binary.BigEndian.Uint64(k), err)
	}
	if err := s.facts(g, r, rec); err != nil {
		return err
	}
	if b, ok := s.binding(r, rec.Phone); ok && rec.Kind == judge.RecordBinding {
		g.Facts.Bindings[rec.Phone] = b
	}
	g.Adopt(rec)
	return nil
}
