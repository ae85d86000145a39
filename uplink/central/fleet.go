package central

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/fleet"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/syncapi"
)

// listed is how long a list of the fleet serves a page: to read all depots costs more
// than many who look at the same page should cause.
const listed = 2 * time.Second

// roster has the last list of the fleet. One is made at a time, for all who wait.
type roster struct {
	busy chan struct{} // capacity 1: held by who uses what follows
	list listing
}

// listing is the fleet at a moment, in the order of ids. It is never changed.
type listing struct {
	begun      time.Time // before anything was read for it
	depots     []fleet.Depot
	registered []*identity.Registration // of each depot; nil: it is in the configuration only, or was heard of
}

// depots lists those that are registered, configured, were heard of, or are in the
// snapshot, each judged, as they were a moment ago.
func (c *Central) depots(ctx context.Context) ([]fleet.Depot, error) {
	list, err := c.listing(ctx, time.Now().Add(-listed))
	return list.depots, err
}

// listing gives a list that was begun after that moment.
func (c *Central) listing(ctx context.Context, after time.Time) (listing, error) {
	r := &c.roster
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return listing{}, ctx.Err()
	}
	if r.list.begun.After(after) {
		return r.list, nil
	}
	list, err := c.list(ctx)
	if err == nil {
		r.list = list
	}
	return list, err
}

// list lists all depots as they are now.
func (c *Central) list(ctx context.Context) (l listing, err error) {
	l.begun = time.Now()
	registered, err := c.ids.Registrations(ctx)
	if err != nil {
		return l, err
	}
	members, err := c.presence.Members(ctx)
	if err != nil {
		return l, err
	}
	numbering, err := c.o.Snapshot.Depots(ctx)
	if err != nil {
		return l, err
	}
	numbers := make(map[scan.DepotID]snapshot.Depot, len(numbering))
	ids := make(map[scan.DepotID]*identity.Registration, len(members))
	for id := range members {
		ids[id] = nil
	}
	for _, n := range numbering {
		ids[n.ID], numbers[n.ID] = nil, n
	}
	for _, r := range registered {
		ids[r.ID] = r
	}
	l.depots, l.registered = make([]fleet.Depot, 0, len(ids)), make([]*identity.Registration, 0, len(ids))
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		m, heard := members[id]
		d, r := newDepot(id, m, heard), ids[id]
		if n, ok := numbers[id]; ok {
			number(d, n)
		}
		if err := c.judge(ctx, d, r); err != nil {
			return l, err
		}
		l.depots, l.registered = append(l.depots, *d), append(l.registered, r)
	}
	return l, nil
}

// depot is one of these, without a look at the others; nil: there is none.
func (c *Central) depot(ctx context.Context, id scan.DepotID) (*fleet.Depot, error) {
	m, heard, err := c.presence.Member(ctx, id)
	if err != nil {
		return nil, err
	}
	n, numbered, err := c.o.Snapshot.Depot(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := c.ids.Registration(ctx, id)
	if err != nil || !heard && !numbered && r == nil {
		return nil, err
	}
	d := newDepot(id, m, heard)
	if numbered {
		number(d, n)
	}
	return d, c.judge(ctx, d, r)
}

func newDepot(id scan.DepotID, m presence.Member, heard bool) *fleet.Depot {
	m.Away = m.Away || !heard
	return &fleet.Depot{ID: id, Member: m}
}

func number(d *fleet.Depot, n snapshot.Depot) {
	if d.Depot = n; d.Member.Epoch == "" && n.Epoch != 0 {
		d.Member.Epoch = syncapi.FormatEpoch(n.Epoch)
	}
}

// judge adds to what is known of a depot its registration, nil where it has none, its
// share, and what is wrong.
func (c *Central) judge(ctx context.Context, d *fleet.Depot, r *identity.Registration) (err error) {
	if d.Share, d.Backlog, err = c.shares.Of(ctx, d.ID); err != nil {
		return err
	}
	var others []fleet.Alarm
	if r != nil {
		d.Name, d.Site, d.Labels, d.Identity = r.Name, r.Site, r.Labels, r.State()
		for _, a := range c.ids.AlarmsOf(r) {
			others = append(others, fleet.Alarm{Kind: a.Kind, Since: a.Since})
		}
	}
	d.Judge(others...)
	return nil
}

// contacts implements identity.Heard.
type contacts struct{ *Central }

// All tells the last word of each depot, and what is wrong with it, from one list that
// all who ask at a moment share.
func (c contacts) All(ctx context.Context, at time.Time) (iter.Seq2[*identity.Registration, identity.Contact], error) {
	list, err := c.listing(ctx, at)
	return func(yield func(*identity.Registration, identity.Contact) bool) {
		for i, r := range list.registered {
			if r == nil {
				r = &identity.Registration{ID: list.depots[i].ID}
			}
			if !yield(r, contact(&list.depots[i])) {
				return
			}
		}
	}, err
}

// One tells that of one depot, without a look at the others.
func (c contacts) One(ctx context.Context, id scan.DepotID) (identity.Contact, bool, error) {
	d, err := c.depot(ctx, id)
	if err != nil || d == nil {
		return identity.Contact{}, false, err
	}
	all := contact(d)
	all.Orders, err = c.orders.All(ctx, id)
	return all, true, err
}

func contact(d *fleet.Depot) identity.Contact {
	contact := identity.Contact{At: d.Last, Version: d.Version, OSArch: d.OSArch, Away: d.Away, Health: d.Health, Update: d.Update, Config: d.Config}
	for _, a := range d.Wrong {
		// All were never heard for a moment when a centre starts; identity itself
		// tells of its own.
		if slices.Contains([]string{fleet.NeverHeard, fleet.Cloned, fleet.KeyUnknown, fleet.Unreadable}, a.Kind) {
			continue
		}
		w := fleet.WordOf("en", a.Kind)
		contact.Alarms = append(contact.Alarms, identity.Alarm{Depot: d.ID, Kind: a.Kind, Since: a.Since, What: w.What, Do: w.Do})
	}
	return contact
}
