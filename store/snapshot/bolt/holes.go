package bolt

import (
	"bytes"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/values"
)

// maxHoles bounds what is looked through for a waybill that is not there: what is
// not known of one in a hole may be known by and by. The depots are asked again.
const maxHoles = 10_000

func has(h values.Hole, id scan.WaybillID) bool {
	return id >= h.Low && (h.High == nil || string(id) < string(h.High))
}

// readHoles reads what was lost before.
func (s *Store) readHoles(tx *bbolt.Tx) error {
	var holes []values.Hole
	b := tx.Bucket(bucketHoles)
	if b == nil {
		return nil
	}
	err := b.ForEach(func(k, v []byte) error {
		if h, err := values.DecodeHole(k, v); err == nil && len(holes) < maxHoles {
			holes = append(holes, h)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(holes) > 0 {
		last := slices.MaxFunc(holes, func(x, y values.Hole) int { return int(x.At - y.At) })
		s.damaged("waybills were lost in %d places, at last at %s: depots send theirs again, import waybill data again",
			len(holes), time.Unix(last.At, 0).UTC().Format(time.RFC3339))
	}
	s.holes.Store(&holes)
	if len(tx.Bucket(bucketMeta).Get(metaAgain)) > 0 {
		select {
		case s.askAgain <- struct{}{}:
		default:
		}
	}
	return nil
}

// inHole reports whether a waybill may have been lost.
func (s *Store) inHole(id scan.WaybillID) bool {
	holes := s.holes.Load()
	return holes != nil && slices.ContainsFunc(*holes, func(h values.Hole) bool { return has(h, id) })
}

// closeHoles forgets holes that are older than all that is kept. The caller holds
// mergeMu.
func (s *Store) closeHoles(before int64) error {
	holes := s.holes.Load()
	if holes == nil || !slices.ContainsFunc(*holes, func(h values.Hole) bool { return h.At < before }) {
		return nil
	}
	var left []values.Hole
	err := s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketHoles)
		for _, h := range *holes {
			if key, _ := values.EncodeHole(h); h.At >= before {
				left = append(left, h)
			} else if err := b.Delete(bytes.Clone(key)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.holes.Store(&left)
	}
	return err
}
