package bolt

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// tail is what is committed to the log and perhaps not merged yet, and all
// depots, merged or not. The committer alone adds to it, the merger alone takes
// away.
type tail struct {
	mu sync.RWMutex
	judge.Facts
	last  uint64         // highest number published
	lives boltfile.Lives // who wrote the records; never changed, but another takes its place
}

func newTail() tail { return tail{Facts: judge.NewFacts()} }

func (t *tail) knownLives() boltfile.Lives {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.lives
}

func (t *tail) setLives(l boltfile.Lives) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lives = l
}

func lookIn[K comparable, V any](t *tail, m map[K]V, key K) (V, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, ok := m[key]
	return v, ok
}

func (t *tail) lastNumber() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// publish shows what a group changed to everyone.
func (t *tail) publish(changed judge.Facts, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.Waybills, changed.Waybills)
	maps.Copy(t.Answers, changed.Answers)
	maps.Copy(t.Bindings, changed.Bindings)
	maps.Copy(t.Depots, changed.Depots)
	t.last = last
}

// get reads a value of waybills.db. Where there is none the keys beside it are looked
// at, too: a value's sum is over its key, in which a bit may have turned.
func get[V any](r *boltpage.Finder, bucket, key []byte, decode func(key, value []byte) (V, error)) (v V, ok bool, err error) {
	b, err := r.Get(string(bucket), key)
	if err == nil && b == nil {
		return v, false, r.Beside(string(bucket), key, func(k, v []byte) error {
			_, err := values.Unseal(k, v)
			return err
		})
	}
	if err == nil {
		v, err = decode(key, b)
	}
	return v, err == nil, err
}

// mergedState reads a waybill from waybills.db; nil if it is not there.
func (s *Store) mergedState(r *boltpage.Finder, id scan.WaybillID) (*judge.State, error) {
	st, _, err := get(r, bucketWaybills, []byte(id), func(k, v []byte) (*judge.State, error) { return values.DecodeState(s.ring, k, v) })
	if err == nil && st != nil && st.Applied > values.MaxNumber { // no record would change it
		return nil, values.ErrDamaged
	}
	return st, err
}

// state reads a waybill, within steady: the tail first, then waybills.db.
func (s *Store) state(r *boltpage.Finder, id scan.WaybillID) (*judge.State, error) {
	if st, ok := lookIn(&s.tail, s.tail.Waybills, id); ok {
		return st, nil
	}
	st, err := s.mergedState(r, id)
	if err != nil {
		return nil, s.suspect(err)
	}
	return st, nil
}

// unopened reads a waybill as state does, but one whose data key is lost, of which it
// tells, begins anew: it costs its waybill, and holds up no depot.
func (s *Store) unopened(r *boltpage.Finder, id scan.WaybillID) (*judge.State, error) {
	st, err := s.state(r, id)
	if errors.Is(err, datakey.ErrKey) {
		return &judge.State{Anew: true}, nil
	}
	return st, err
}

// withMother reads a waybill, and its mother; nil if it is no parcel.
func (s *Store) withMother(r *boltpage.Finder, id scan.WaybillID) (st, mother *judge.State, err error) {
	if st, err = s.unopened(r, id); err == nil && st.MotherID() != "" {
		mother, err = s.unopened(r, st.Mother)
	}
	return st, mother, err
}

// asideKey is where the value is kept of a waybill that was begun anew.
func asideKey(id, value []byte) []byte {
	return binary.BigEndian.AppendUint32(append(bytes.Clone(id), 0), crc32.ChecksumIEEE(value))
}

// asideOf is whose value an asideKey keeps; "": it is none, but of commit 7b28d06.
func asideOf(key []byte) scan.WaybillID {
	if at := len(key) - 5; at > 0 && key[at] == 0 {
		return scan.WaybillID(key[:at])
	}
	return ""
}

// answers reads what became of numbers. One that cannot be read is one that is not
// known: its event is still in the path.
type answers struct {
	s     *Store
	r     *boltpage.Finder
	key   []byte
	block values.Block // under key: numbers come in order
}

func (a *answers) find(n judge.Number) (judge.Kept, bool) {
	if k, ok := lookIn(&a.s.tail, a.s.tail.Answers, n); ok {
		return k, true
	}
	key, place := values.BlockKey(n)
	if !bytes.Equal(key, a.key) {
		a.key = key
		a.block, _ = small(a.s, a.r, bucketNumbers, key, func(k, v []byte) (values.Block, error) {
			b, _, err := values.DecodeBlock(k, v)
			return b, err
		})
	}
	k, ok := a.block[place]
	if !ok && a.s.older.Load() {
		return small(a.s, a.r, bucketAnswers, values.OldKey(n), values.DecodeOldAnswer)
	}
	return k, ok
}

func (s *Store) binding(r *boltpage.Finder, p judge.PhoneKey) (judge.Binding, bool) {
	if b, ok := lookIn(&s.tail, s.tail.Bindings, p); ok {
		return b, true
	}
	return small(s, r, bucketBindings, p[:], values.DecodeBinding)
}

// small reads what is as good as not there where it cannot be read.
func small[V any](s *Store, r *boltpage.Finder, bucket, key []byte, decode func(key, value []byte) (V, error)) (V, bool) {
	v, ok, err := get(r, bucket, key, decode)
	_ = s.suspect(err) // what is wrong is mended behind this
	return v, ok
}

// Lookup implements [snapshot.Store].
func (s *Store) Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	// An entry leaves the tail only after waybills.db holds it, and the
	// transaction begins after the look at the tail: one of the two has it.
	st, ok := lookIn(&s.tail, s.tail.Waybills, id)
	var err error
	if !ok {
		st, err = read(ctx, s, func(r *boltpage.Finder) (*judge.State, error) { return s.mergedState(r, id) })
		err = s.suspect(err)
	}
	if mother := st.MotherID(); err == nil && mother != "" {
		return s.Lookup(ctx, mother)
	}
	if err == nil && !st.HasData() && (st.LostData() || s.inHole(id)) {
		err = snapshot.ErrDamaged
	}
	if err != nil {
		return snapshot.Waybill{}, false, fmt.Errorf("look up waybill: %w", err)
	}
	if st == nil {
		return snapshot.Waybill{}, false, nil
	}
	return st.View(id), true, nil
}

// Known implements [snapshot.Store].
func (s *Store) Known(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) ([]snapshot.Known, error) {
	out, err := steady(ctx, s, func(r *boltpage.Finder) ([]snapshot.Known, error) {
		out := make([]snapshot.Known, 0, len(ids))
		for _, id := range ids {
			st, mother, err := s.withMother(r, id)
			if err != nil {
				return nil, err
			}
			if mother != nil && mother.Scanned(depot) {
				out = append(out, snapshot.Known{Waybill: id, Parcel: true})
			}
			if !st.HasData() || !st.Scanned(depot) {
				continue
			}
			k := snapshot.Known{Waybill: id, Data: *st.Data}
			if b, ok := s.binding(r, judge.KeyOf(s.phoneSecret, st.Data.Receiver.Phone)); ok {
				k.Binding = b.View()
			}
			out = append(out, k)
		}
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read waybill data: %w", err)
	}
	return out, nil
}

// Answers implements [snapshot.Store].
func (s *Store) Answers(ctx context.Context, depot scan.DepotID, asks []snapshot.Ask) ([]snapshot.Answer, error) {
	out, err := steady(ctx, s, func(r *boltpage.Finder) ([]snapshot.Answer, error) {
		out := make([]snapshot.Answer, len(asks))
		kept := answers{s: s, r: r}
		for i := range asks {
			ask := &asks[i]
			st, mother, err := s.withMother(r, ask.Waybill)
			if err != nil {
				return nil, err
			}
			k, known := kept.find(judge.Number{Depot: depot, Epoch: ask.Epoch, Seq: ask.Seq})
			out[i] = st.Answer(mother, depot, ask, k, known)
		}
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("answer asks: %w", err)
	}
	return out, nil
}

// Depots implements [snapshot.Store].
func (s *Store) Depots(context.Context) ([]snapshot.Depot, error) {
	s.tail.mu.RLock()
	out := make([]snapshot.Depot, 0, len(s.tail.Depots))
	for id, d := range s.tail.Depots {
		out = append(out, d.View(id))
	}
	s.tail.mu.RUnlock()
	slices.SortFunc(out, func(x, y snapshot.Depot) int { return cmp.Compare(x.ID, y.ID) })
	return out, nil
}

// Depot implements [snapshot.Store].
func (s *Store) Depot(_ context.Context, id scan.DepotID) (snapshot.Depot, bool, error) {
	d, ok := lookIn(&s.tail, s.tail.Depots, id)
	if !ok {
		return snapshot.Depot{}, false, nil
	}
	return d.View(id), true, nil
}
