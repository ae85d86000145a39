package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// loaded is what was read, and the versions it had. A row that is not there has
// version 0.
type loaded struct {
	judge.Facts
	s        *Store
	waybills map[scan.WaybillID]int64
	depots   map[scan.DepotID]int64
	newest   int64 // of the versions, and of the numbers of records in what was read
	bad      map[scan.WaybillID]error
	broken   map[scan.WaybillID][]byte // rows that are not what was written, or that nobody can decrypt
	peek     bool                      // without what is personal
	unopened *values.Unopened          // counts rows whose data key is missing; nil: nobody asks
}

func (s *Store) newLoaded() *loaded {
	return &loaded{
		Facts: judge.NewFacts(), s: s, waybills: map[scan.WaybillID]int64{}, depots: map[scan.DepotID]int64{}, bad: map[scan.WaybillID]error{},
		broken: map[scan.WaybillID][]byte{},
	}
}

// querier is a pool, or one connection of it.
type querier interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// load reads what keys ask for, in one round trip, or two where there are parcels.
// A depot is read before its answers and waybills: whoever merges for it in between
// changes the version that this group will write on. A waybill whose row is damaged, or
// encrypted with a key that is gone, begins anew; any other that cannot be read is an error.
func (s *Store) load(ctx context.Context, q querier, keys judge.Keys, more ...func(b *pgx.Batch)) (*loaded, error) {
	l := s.newLoaded()
	var b pgx.Batch
	l.askDepots(&b, keys.Depots)
	l.askWaybills(&b, keys.Waybills)
	l.askAnswers(&b, keys.Numbers)
	for _, ask := range more {
		ask(&b)
	}
	if err := send(ctx, q, &b); err != nil {
		return nil, err
	}
	if err := l.mothers(ctx, q); err != nil {
		return nil, err
	}
	for id, err := range l.bad {
		if l.broken[id] == nil {
			return nil, err
		}
	}
	return l, nil
}

// send runs a batch that asks something.
func send(ctx context.Context, q querier, b *pgx.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	return q.SendBatch(ctx, b).Close()
}

// mothers reads whose parcels were read.
func (l *loaded) mothers(ctx context.Context, q querier) error {
	var ids []scan.WaybillID
	for _, st := range l.Waybills {
		if mother := st.MotherID(); mother != "" {
			if _, there := l.waybills[mother]; !there {
				ids = append(ids, mother)
			}
		}
	}
	var b pgx.Batch
	l.askWaybills(&b, ids)
	return send(ctx, q, &b)
}

func sorted[T ~string](all []T) []string {
	out := make([]string, 0, len(all))
	for _, v := range all {
		if v != "" {
			out = append(out, string(v))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (l *loaded) askDepots(b *pgx.Batch, ids []scan.DepotID) {
	if all := sorted(ids); len(all) > 0 {
		b.Queue(sqlDepots, all).Query(l.scanDepots)
	}
}

// scanDepots leaves out what cannot be read of a numbering: the depot sends again.
func (l *loaded) scanDepots(rows pgx.Rows) error {
	var depot string
	var epochs []byte
	var version int64
	_, err := pgx.ForEachRow(rows, []any{&depot, &epochs, &version}, func() error {
		id := scan.DepotID(depot)
		d, err := decodeNumbering(id, epochs)
		if err != nil {
			l.s.damaged("the numbering of depot %s is unreadable: it sends again", id)
		}
		l.depots[id] = version
		what := "the numbering of depot " + depot
		l.note(what, uint64(version))
		for i := range d.Epochs {
			e := &d.Epochs[i]
			e.Last, e.Again = l.note(what, e.Last), l.note(what, e.Again)
		}
		if err == nil || len(d.Epochs) > 0 {
			l.Depots[id] = d
		}
		return nil
	})
	return err
}

// number is that version or number of a record, or 0 where it cannot be one: that is
// told, and put right with the next change. All else in the row is what was written.
func (s *Store) number(what string, n uint64) uint64 {
	if n > values.MaxNumber {
		s.damaged("%s has a number that is none (%d): it is put right with the next change", what, int64(n))
		return 0
	}
	return n
}

// note is number, above which that of the next record must lie.
func (l *loaded) note(what string, n uint64) uint64 {
	n = l.s.number(what, n)
	l.newest = max(l.newest, int64(n))
	return n
}

// maxTime bounds unix seconds that are read: the year 3000.
const maxTime = 32_503_680_000

// askWaybills leaves out what can be no waybill's number, and so has no row.
func (l *loaded) askWaybills(b *pgx.Batch, ids []scan.WaybillID) {
	all := slices.DeleteFunc(sorted(ids), func(id string) bool { return snapshot.BadID(scan.WaybillID(id)) != "" })
	if len(all) == 0 {
		return
	}
	b.Queue(sqlWaybills, all).Query(l.scanWaybills)
}

func (l *loaded) scanWaybills(rows pgx.Rows) error {
	var id string
	var state []byte
	var version int64
	_, err := pgx.ForEachRow(rows, []any{&id, &state, &version}, func() error {
		id := scan.WaybillID(id)
		if st, err := l.s.decodeState(id, state, l.peek); err != nil {
			if l.bad[id] = err; broken(id, state) || l.s.unopened(err) {
				l.broken[id], l.Waybills[id] = state, &judge.State{Anew: true}
			}
		} else {
			if l.Waybills[id] = st; l.unopened != nil {
				l.unopened.Add("waybills", state)
			}
			st.Applied = l.note(rowOf(id), st.Applied)
		}
		l.waybills[id] = version
		l.note(rowOf(id), uint64(version))
		return nil
	})
	return err
}

func rowOf(id scan.WaybillID) string { return "the row of waybill " + string(id) }

// encodeState and decodeState are the only way of a state into the database and out
// of it.
func (s *Store) encodeState(id scan.WaybillID, st *judge.State) []byte {
	return values.EncodeState(s.ring, []byte(id), st)
}

func (s *Store) decodeState(id scan.WaybillID, b []byte, peek bool) (st *judge.State, err error) {
	if peek {
		st, err = values.PeekState([]byte(id), b)
	} else {
		st, err = values.DecodeState(s.ring, []byte(id), b)
	}
	var unknown *datakey.UnknownError
	switch {
	case err == nil:
		return st, nil
	case errors.As(err, &unknown): // see missedKey, which may find it
		return nil, err
	case errors.Is(err, datakey.ErrKey):
		s.damaged("the row of waybill %s cannot be decrypted: %v; it is kept as document %s… once something comes for the waybill, which then begins anew", id, err, asidePrefix+string(id)+"/")
		return nil, err
	case broken(id, b):
		s.damaged("the row of waybill %s is unreadable: import its data again; the row is not forgotten, and is kept as document %s… once something comes for the waybill, which then begins anew", id, asidePrefix+string(id)+"/")
	default:
		s.damaged("the row of waybill %s is of a form that this version does not know: what is sent for it is refused", id)
	}
	return nil, fmt.Errorf("%w: %w", snapshot.ErrDamaged, err)
}

// broken tells that a row is not what was written, by its sum.
func broken(id scan.WaybillID, state []byte) bool {
	_, err := values.Unseal([]byte(id), state)
	return err != nil
}

// askAnswers asks for a depot's numbers of one epoch at once: as a run, where there
// are few holes between them.
func (l *loaded) askAnswers(b *pgx.Batch, all []judge.Number) {
	for len(all) > 0 {
		first, n := all[0], 1
		for n < len(all) && all[n].Depot == first.Depot && all[n].Epoch == first.Epoch {
			n++
		}
		seqs := make([]int64, n)
		low, high := first.Seq, first.Seq
		for i, number := range all[:n] {
			seqs[i], low, high = int64(number.Seq), min(low, number.Seq), max(high, number.Seq)
		}
		query := b.Queue(sqlAnswers, string(first.Depot), int64(first.Epoch), seqs)
		if high-low < uint64(2*n) && int64(low) <= int64(high) {
			query.SQL, query.Arguments = sqlAnswerRun, []any{string(first.Depot), int64(first.Epoch), int64(low), int64(high)}
		}
		query.Query(func(rows pgx.Rows) error { return l.scanAnswers(rows, first.Depot, first.Epoch) })
		all = all[n:]
	}
}

func (l *loaded) scanAnswers(rows pgx.Rows, depot scan.DepotID, epoch uint64) error {
	var seq, ident, at int64
	var result int16
	_, err := pgx.ForEachRow(rows, []any{&seq, &ident, &result, &at}, func() error {
		if result < int16(snapshot.Taken) || result > int16(snapshot.Refused) || at < 0 || at > maxTime {
			l.s.damaged("what became of number %d of depot %s, epoch %016x, is none of what can be: it is judged anew when it comes again", uint64(seq), depot, epoch)
			return nil
		}
		l.Answers[judge.Number{Depot: depot, Epoch: epoch, Seq: uint64(seq)}] = judge.Kept{
			Ident: uint64(ident), Result: snapshot.Result(result), At: at,
		}
		return nil
	})
	return err
}

func (l *loaded) askBindings(b *pgx.Batch, phones []judge.PhoneKey) {
	if len(phones) == 0 {
		return
	}
	keys := make([][]byte, len(phones))
	for i := range phones {
		keys[i] = phones[i][:]
	}
	b.Queue(sqlBindings, keys).Query(func(rows pgx.Rows) error {
		var phone []byte
		var v judge.Binding
		_, err := pgx.ForEachRow(rows, []any{&phone, &v.Exist, &v.At}, func() error {
			if v.At < 0 || v.At > l.s.latest() {
				l.s.damaged("a binding has a time that cannot be: it is learned again")
				return nil
			}
			l.Bindings[judge.PhoneKey(phone)] = v
			return nil
		})
		return err
	})
}
