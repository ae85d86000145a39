package postgres

import (
	"context"
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// What depots' words come to, see judge.Lost, stands in meta for all processes, a row
// for each claim.

// claimPrefix and a depot's id is the name of such a row.
const claimPrefix = "claim/"

// lostIn reads it. What cannot be read is as good as not there.
func lostIn(meta map[string][]byte) judge.Lost {
	l := judge.Lost{Claims: map[scan.DepotID]judge.Period{}}
	if p, err := values.DecodePeriod([]byte(metaMissing), meta[metaMissing]); err == nil {
		l.Missing = p
	}
	for name, value := range meta {
		if id, ok := strings.CutPrefix(name, claimPrefix); ok {
			if p, err := values.DecodePeriod([]byte(name), value); err == nil {
				l.Claims[scan.DepotID(id)] = p
			}
		}
	}
	return l
}

// hear judges that a depot was answered for what this store does not have; d is what
// it has of it. All is kept before the depot is answered, which will not say so again.
func (s *Store) hear(ctx context.Context, depot scan.DepotID, d *judge.Numbering, now time.Time) error {
	if d == nil {
		return nil
	}
	last := d.View(depot).At
	if s.heard[depot].Equal(last) {
		return nil
	}
	claimed := false
	alone := func() (bool, error) {
		if claimed {
			return false, nil
		}
		all, err := s.depots(ctx)
		return judge.Alone(all, depot), err
	}
	for {
		meta, err := s.meta(ctx)
		if err != nil {
			return err
		}
		l := lostIn(meta)
		if claimed { // this look is for what others claimed meanwhile
			delete(l.Claims, depot)
		}
		before := l.Claims
		heard, err := l.Hear(depot, d, now.Unix(), alone)
		switch {
		case err != nil:
			return err
		case heard == judge.Claimed && !claimed:
			if err := s.putPeriod(ctx, claimPrefix+string(depot), l.Claims[depot]); err != nil {
				return err
			}
			claimed = true
			continue
		case heard == judge.Claimed:
			s.damaged(judge.OneSays, depot)
		case heard == judge.PutBack:
			if err := s.putPeriod(ctx, metaMissing, l.Missing); err != nil {
				return err
			}
			before[depot] = judge.Period{}
			if err := s.forgetClaims(ctx, before); err != nil {
				return err
			}
		}
		s.wasRestored(l.Missing)
		s.heard[depot] = last
		return nil
	}
}

func (s *Store) putPeriod(ctx context.Context, name string, p judge.Period) error {
	_, err := s.pool.Exec(ctx, sqlPutMeta, name, values.EncodePeriod([]byte(name), p))
	return err
}

func (s *Store) forgetClaims(ctx context.Context, claims map[scan.DepotID]judge.Period) error {
	for id := range claims {
		if _, err := s.pool.Exec(ctx, sqlDeleteMeta, claimPrefix+string(id)); err != nil {
			return err
		}
	}
	return nil
}

// wasRestored tells what is missing, once; another process may have found it.
func (s *Store) wasRestored(missing judge.Period) {
	if before := s.missing.Load(); missing == (judge.Period{}) || before != nil && *before == missing {
		return
	}
	s.missing.Store(&missing)
	s.damaged("%s", missing.Tell())
}

// forgetLost drops what was before the horizon.
func (s *Store) forgetLost(ctx context.Context, meta map[string][]byte, before int64) error {
	l, gone := lostIn(meta), map[scan.DepotID]judge.Period{}
	for id, p := range l.Claims {
		gone[id] = p
	}
	if was := l.Missing; !l.Forget(before) {
		return nil
	} else if was != l.Missing {
		if _, err := s.pool.Exec(ctx, sqlDeleteMeta, metaMissing); err != nil {
			return err
		}
		s.missing.Store(nil)
	}
	for id := range l.Claims {
		delete(gone, id)
	}
	return s.forgetClaims(ctx, gone)
}
