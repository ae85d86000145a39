package uplink_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store"
)

// memory is an outbox without a disk, as simple as it can be. It keeps the
// promises of both relays' Outbox, and checks that the relays keep
// theirs: what breaks a rule is in problems.
type memory struct {
	mu        sync.Mutex
	recs      []*memRecord // by sequence number, the first is 1
	watermark uint64
	epoch     uint64
	arrived   chan struct{}
	pushable  chan struct{}
	settleGap time.Duration // how long a commit takes
	patient   bool          // outcomes wait for a hurry, where they may
	hurried   chan struct{} // closed: they are in one
	failNext  error         // what the next Settle returns
	problems  []string
	epochs    []string // why new ones were taken
	rewinds   []uint64
}

type memRecord struct {
	store.Record
	leased time.Time // until; zero: not leased
	due    time.Time
	parked bool
}

func newMemory() *memory {
	return &memory{epoch: 0xe1, arrived: make(chan struct{}, 1), pushable: make(chan struct{}, 1), hurried: make(chan struct{})}
}

func (m *memory) Hurry(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.hurried:
		if !on {
			m.hurried = make(chan struct{})
		}
	default:
		if on {
			close(m.hurried)
		}
	}
}

// hurry is closed once outcomes are in a hurry.
func (m *memory) hurry() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hurried
}

// poke makes sure that a channel of capacity 1 has something to receive.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add appends events.
func (m *memory) add(events ...scan.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range events {
		seq := uint64(len(m.recs) + 1)
		m.recs = append(m.recs, &memRecord{Record: store.Record{ID: store.ID{Epoch: m.epoch, Seq: seq}, Event: e, State: store.Unsynced}})
	}
	poke(m.arrived)
}

func (m *memory) get(seq uint64) store.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewLocked(m.recs[seq-1])
}

func (m *memory) viewLocked(r *memRecord) store.Record {
	v := r.Record
	switch {
	case v.State.Finished():
	case v.ID.Seq > m.watermark:
		v.State = store.Unsynced
	case r.parked && r.leased.IsZero():
		v.State = store.AwaitingWaybill
	default:
		v.State = store.ToPush
	}
	return v
}

func (m *memory) states() (all []store.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		all = append(all, m.viewLocked(r).State)
	}
	return all
}

func (m *memory) Unsynced(most, maxBytes int) (out []store.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		if r.ID.Seq > m.watermark && len(out) < most {
			out = append(out, m.viewLocked(r))
		}
	}
	return out, nil
}

func (m *memory) Arrived() <-chan struct{}  { return m.arrived }
func (m *memory) Pushable() <-chan struct{} { return m.pushable }

func (m *memory) Synced(upTo uint64, ended []store.Settlement, waiting []uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		if r.ID.Seq > m.watermark && r.ID.Seq <= upTo {
			r.parked = slices.Contains(waiting, r.ID.Seq)
		}
	}
	m.watermark = max(m.watermark, upTo)
	for _, s := range ended {
		m.endLocked(s)
	}
	poke(m.pushable)
	return nil
}

func (m *memory) endLocked(s store.Settlement) {
	r := m.recs[s.Seq-1]
	if r.State.Finished() {
		m.problems = append(m.problems, fmt.Sprintf("event %d ended twice: %v, then %v", s.Seq, r.State, s.Outcome))
		return
	}
	r.State, r.Last, r.Attempts, r.FinishedAt, r.leased = s.Outcome, s.Last, s.Attempts, time.Now(), time.Time{}
	poke(m.pushable)
}

func (m *memory) Rewind(have uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rewinds = append(m.rewinds, have)
	m.watermark = min(m.watermark, have)
	poke(m.arrived)
	return nil
}

func (m *memory) NewEpoch(why string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.epochs = append(m.epochs, why)
	for _, r := range m.recs {
		if r.ID.Seq > m.watermark {
			r.ID.Epoch = m.epoch
		}
	}
	poke(m.arrived)
	return nil
}

func (m *memory) Waiting(most int, after uint64) (out []store.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		if v := m.viewLocked(r); v.State == store.AwaitingWaybill && v.ID.Seq > after && len(out) < most {
			out = append(out, v)
		}
	}
	return out, nil
}

func (m *memory) WakeEvents(seqs ...uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, seq := range seqs {
		m.recs[seq-1].parked = false
	}
	poke(m.pushable)
}

func (m *memory) Wake(ids ...scan.WaybillID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		if slices.Contains(ids, r.Event.Waybill) {
			r.parked = false
		}
	}
	poke(m.pushable)
	return nil
}

// headsLocked are the first pending records of each waybill.
func (m *memory) headsLocked() (heads []*memRecord) {
	seen := map[scan.WaybillID]bool{}
	for _, r := range m.recs {
		if r.State.Finished() || seen[r.Event.Waybill] {
			continue
		}
		seen[r.Event.Waybill] = true
		if r.ID.Seq <= m.watermark && !r.parked {
			heads = append(heads, r)
		}
	}
	return heads
}

func (m *memory) Lease(most int, ttl time.Duration) (out []store.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if most < 1 {
		m.problems = append(m.problems, fmt.Sprintf("lease of %d records", most))
	}
	now := time.Now()
	for _, r := range m.headsLocked() {
		if len(out) < most && !r.leased.After(now) && !r.due.After(now) {
			r.leased = now.Add(ttl)
			out = append(out, m.viewLocked(r))
		}
	}
	return out, nil
}

func (m *memory) Due() (next time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.headsLocked() {
		at := r.due
		if r.leased.After(at) {
			at = r.leased
		}
		if !ok || at.Before(next) {
			next, ok = at, true
		}
	}
	return next, ok
}

func (m *memory) leasedLocked(seq uint64) bool { return m.recs[seq-1].leased.After(time.Now()) }

func (m *memory) Settle(ctx context.Context, s []store.Settlement) error {
	if m.patient && s[0].NoHurry {
		select {
		case <-m.hurry():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if m.settleGap > 0 && !wait.Sleep(ctx, m.settleGap) {
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failNext; err != nil {
		m.failNext = nil
		return err
	}
	var err error
	for _, one := range s {
		if !m.leasedLocked(one.Seq) {
			err = store.ErrNotLeased
			continue
		}
		m.endLocked(one)
	}
	return err
}

func (m *memory) Release(all ...store.Retry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range all {
		if !m.leasedLocked(r.Seq) {
			return store.ErrNotLeased
		}
		rec := m.recs[r.Seq-1]
		rec.leased, rec.due, rec.Attempts, rec.Last = time.Time{}, r.At, r.Attempts, r.Last
	}
	poke(m.pushable)
	return nil
}

func (m *memory) Park(records ...store.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		seq := r.ID.Seq
		if !m.leasedLocked(seq) {
			return store.ErrNotLeased
		}
		head := m.recs[seq-1]
		head.leased = time.Time{}
		for _, r := range m.recs {
			if r.Event.Waybill == head.Event.Waybill && r.ID.Seq >= seq {
				r.parked = true
			}
		}
	}
	return nil
}

func (m *memory) OfWaybills(ids []scan.WaybillID, most int) (out []store.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		if slices.Contains(ids, r.Event.Waybill) && len(out) < most {
			out = append(out, m.viewLocked(r))
		}
	}
	return out, nil
}

func (m *memory) Newer(id scan.WaybillID, seq uint64) (newest int64, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		if r.Event.Waybill == id && r.ID.Seq > seq && (!ok || r.Event.ActionTime > newest) {
			newest, ok = r.Event.ActionTime, true
		}
	}
	return newest, ok, nil
}

func (m *memory) Counts() (c store.Counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		c.State[m.viewLocked(r).State]++
	}
	c.Watermark, c.NextSeq, c.Epoch = m.watermark, uint64(len(m.recs)+1), m.epoch
	return c
}
