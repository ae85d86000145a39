package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/values"
)

// sweepClear is how many rows one step of encrypt looks at.
const sweepClear = 500

// encrypt takes the next step through rows that a version before wrote, which have in
// clear what is personal. Where it has come to stands in meta, so that it goes on after
// a stop, or in another process.
func (s *Store) encrypt(ctx context.Context) error {
	if err := s.newKey(ctx); err != nil {
		return err
	}
	meta, err := s.meta(ctx)
	if err != nil {
		return err
	}
	if s.clear = meta[metaEncrypted] == nil; !s.clear {
		return nil
	}
	var found []row
	var b pgx.Batch
	b.Queue(sqlInOrder, string(meta[metaClear]), sweepClear).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (row row, err error) {
			err = r.Scan(&row.id, &row.state, &row.version)
			return row, err
		})
		return err
	})
	if err := send(ctx, s.pool, &b); err != nil {
		return fmt.Errorf("read rows in clear: %w", err)
	}
	write := &pgx.Batch{}
	s.queueEncrypted(write, found)
	last := len(found) < sweepClear
	if last {
		write.Queue(sqlPutMeta, metaEncrypted, []byte{1})
	} else {
		write.Queue(sqlPutMeta, metaClear, []byte(found[len(found)-1].id))
	}
	switch err := send(ctx, s.pool, write); {
	case overtaken(err): // somebody changed one of them, and encrypted it: again
		return nil
	case err != nil:
		return fmt.Errorf("write encrypted rows: %w", err)
	}
	if last {
		s.clear = false
		s.o.Logger.Info("all that is personal in the database is encrypted now; the files of its tables lose what was there before with VACUUM")
	}
	return nil
}

// row is one of waybill.
type row struct {
	id      string
	state   []byte
	version int64
}

// queueEncrypted writes those that are in clear. One that cannot be read stays as it is,
// and is named by whoever wants it.
func (s *Store) queueEncrypted(b *pgx.Batch, found []row) {
	var ids []string
	var states [][]byte
	var due []int32
	var was []int64
	version := s.o.Now().UnixMicro()
	for _, r := range found {
		if !values.InClear("waybills", r.state) {
			continue
		}
		st, err := values.DecodeState(nil, []byte(r.id), r.state)
		if err != nil {
			continue
		}
		ids, states = append(ids, r.id), append(states, s.encodeState(scan.WaybillID(r.id), st))
		due, was = append(due, hourOf(st.Changed)), append(was, r.version)
		if r.version <= values.MaxNumber {
			version = max(version, r.version)
		}
	}
	if len(ids) > 0 {
		b.Queue(sqlPutWaybills, version+1, ids, states, due, was)
	}
}
