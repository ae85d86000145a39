package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/values"
)

// Check reads each depot's numbering and all waybills but what is encrypted in them,
// and returns how many waybills there are. What is damaged is among Stats' damage then.
// Nothing is changed.
func (s *Store) Check(ctx context.Context) (waybills int, err error) {
	if _, err := s.depots(ctx); err != nil {
		return 0, err
	}
	if err := s.loadKeys(ctx); err != nil {
		return 0, err
	}
	unopened := values.Unopened{Has: s.ring.Has}
	for last := scan.WaybillID(""); ; {
		l := s.newLoaded()
		l.peek, l.unopened = true, &unopened
		var b pgx.Batch
		b.Queue(sqlInOrder, string(last), sweepWaybills).Query(l.scanWaybills)
		if err := send(ctx, s.pool, &b); err != nil {
			return waybills, err
		}
		waybills += len(l.waybills)
		if len(l.waybills) < sweepWaybills {
			unopened.Tell(s.NoteDamage)
			return waybills, nil
		}
		last = slices.Max(slices.Collect(maps.Keys(l.waybills)))
	}
}
