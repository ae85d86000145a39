package index

import (
	"time"

	"scanrelay/store/event"
)

// Claim is a leased event.
type Claim struct {
	Seq   uint64
	Lease event.Lease
}

// Lease claims up to max events that may be pushed now: synced, not waiting for
// data, due, each the first pending one of its waybill, and none of a waybill
// that has another one leased. Half of them are of the waybills whose last
// event is the youngest, half of the oldest. What it needs for that it brings
// in from disk.
func (x *Index) Lease(max int, ttl time.Duration) (claims []Claim, err error) {
	x.leasing.Lock()
	defer x.leasing.Unlock()
	var taken ends
	for len(claims) < max && err == nil {
		var want []uint64
		var heads []unverified
		x.timed(func(m *memory) {
			m.expire()
			if want = m.wanted(); len(want) > 0 {
				return
			}
			var got []Claim
			got, heads = m.lease(max-len(claims), ttl, &taken)
			claims = append(claims, got...)
		})
		switch {
		case len(want) > 0:
			err = x.bring(want)
		case len(heads) > 0:
			err = x.verify(heads)
		default:
			return claims, nil
		}
	}
	if err != nil {
		x.Unlease(claims)
		return nil, err
	}
	return claims, nil
}

// Unlease gives events back as they were, unless their leases ran out.
func (x *Index) Unlease(claims []Claim) {
	x.locked(func(m *memory) {
		for _, c := range claims {
			if m.leases[c.Seq].id == c.Lease {
				m.endLease(c.Seq)
			}
		}
	})
}

// Due returns when Lease may find more than it does now: the present moment if
// it would find something. !ok: not before Pushable says so.
func (x *Index) Due() (next time.Time, ok bool) {
	x.timed(func(m *memory) {
		m.expire()
		next, ok = m.due()
	})
	return next, ok
}

// BeginSettling marks leased events as on their way to their outcomes: time no
// longer ends their leases. It returns those whose lease holds, those in a hurry
// whose waybill has another event pending, and the numbers of the others.
func (x *Index) BeginSettling(s []event.Settlement) (held []event.Settlement, missing []uint64) {
	x.timed(func(m *memory) {
		for _, one := range s {
			if !m.leased(one.Seq, one.Lease) {
				missing = append(missing, one.Seq)
				continue
			}
			l := m.leases[one.Seq]
			l.settling = true
			m.leases[one.Seq] = l
			one.NoHurry = one.NoHurry && m.nextOf(one.Seq) == 0
			held = append(held, one)
		}
	})
	return held, missing
}

// AbortSettling takes back what BeginSettling or Reserve did: leases hold on.
func (x *Index) AbortSettling(s []event.Settlement) {
	x.locked(func(m *memory) {
		for i := range s {
			m.abortSettling(s[i].Seq)
		}
	})
}

// Reserve marks events that nobody leased as on their way to their outcomes, so
// that nobody leases them, and returns those that are pending.
func (x *Index) Reserve(s []event.Settlement) (taken []event.Settlement) {
	return x.reserve(s, setPending)
}

// ReserveWaiting does so with those that wait for waybill data.
func (x *Index) ReserveWaiting(s []event.Settlement) (taken []event.Settlement) {
	return x.reserve(s, setWaiting)
}

func (x *Index) reserve(s []event.Settlement, in set) (taken []event.Settlement) {
	x.locked(func(m *memory) {
		for _, one := range s {
			if _, leased := m.leases[one.Seq]; !leased && m.all.has(in, one.Seq) {
				m.leases[one.Seq] = lease{settling: true}
				m.look(one.Seq)
				taken = append(taken, one)
			}
		}
	})
	return taken
}

// Release gives leased events back, to be leased again at their time. It
// returns the numbers of those whose lease ran out.
func (x *Index) Release(r []event.Retry) (missing []uint64) {
	x.timed(func(m *memory) {
		for i := range r {
			if m.leased(r[i].Seq, r[i].Lease) {
				m.retry(r[i])
			} else {
				missing = append(missing, r[i].Seq)
			}
		}
	})
	return missing
}
