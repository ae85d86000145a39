package central

import (
	"context"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/fleet"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/syncapi"
)

// listed is how long a list of the fleet serves: to read all depots costs more than
// many who look at the same page should cause.
const listed = 2 * time.Second

// roster is the fleet as it was a moment ago.
type roster struct {
	busy chan struct{} // capacity 1: held by who uses what follows
	at   time.Time
	list []fleet.Depot // never changed once it is made
}

// depots lists those that are registered, configured, were heard of, or are in the
// snapshot, each judged.
func (c *Central) depots(ctx context.Context) ([]fleet.Depot, error) {
	r := &c.roster
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !r.at.IsZero() && time.Since(r.at) < listed {
		return r.list, nil
	}
	registered, err := c.ids.Registrations(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.listDepots(ctx, registered)
	if err == nil {
		r.list, r.at = list, time.Now()
	}
	return list, err
}

// listDepots lists them as they are now, with these that are registered.
func (c *Central) listDepots(ctx context.Context, registered []*identity.Registration) (list []fleet.Depot, err error) {
	members, err := c.presence.Members(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[scan.DepotID]*fleet.Depot, len(members))
	get := func(id scan.DepotID) *fleet.Depot {
		d := all[id]
		if d == nil {
			m, heard := members[id]
			d = newDepot(id, m, heard)
			all[id] = d
		}
		return d
	}
	for id := range members {
		get(id)
	}
	numbering, err := c.o.Snapshot.Depots(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range numbering {
		number(get(n.ID), n)
	}
	cloned := map[scan.DepotID][]identity.Alarm{}
	for _, r := range registered {
		register(get(r.ID), r)
		cloned[r.ID] = c.ids.AlarmsOf(r)
	}
	for id, d := range all {
		if err := c.judge(ctx, d, cloned[id]); err != nil {
			return nil, err
		}
		list = append(list, *d)
	}
	return list, nil
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
	var cloned []identity.Alarm
	if r != nil {
		register(d, r)
		cloned = c.ids.AlarmsOf(r)
	}
	return d, c.judge(ctx, d, cloned)
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

func register(d *fleet.Depot, r *identity.Registration) {
	d.Name, d.Site, d.Labels, d.Identity = r.Name, r.Site, r.Labels, r.State()
}

func (c *Central) judge(ctx context.Context, d *fleet.Depot, cloned []identity.Alarm) (err error) {
	if d.Share, d.Backlog, err = c.shares.Of(ctx, d.ID); err != nil {
		return err
	}
	var others []fleet.Alarm
	for _, a := range cloned {
		others = append(others, fleet.Alarm{Kind: a.Kind, Since: a.Since})
	}
	d.Judge(others...)
	return nil
}

// contacts implements identity.Heard.
type contacts struct{ *Central }

// All tells the last word of each depot, and what is wrong with it.
func (c contacts) All(ctx context.Context, registered []*identity.Registration) (map[scan.DepotID]identity.Contact, error) {
	list, err := c.listDepots(ctx, registered)
	all := make(map[scan.DepotID]identity.Contact, len(list))
	for i := range list {
		all[list[i].ID] = contact(&list[i])
	}
	return all, err
}

// One tells that of one depot, without a look at the others.
func (c contacts) One(ctx context.Context, id scan.DepotID) (identity.Contact, bool, error) {
	d, err := c.depot(ctx, id)
	if err != nil || d == nil {
		return identity.Contact{}, false, err
	}
	return contact(d), true, nil
}

func contact(d *fleet.Depot) identity.Contact {
	contact := identity.Contact{At: d.Last, Version: d.Version, OSArch: d.OSArch, Away: d.Away, Health: d.Health}
	for _, a := range d.Wrong {
		// All were never heard for a moment when a centre starts; identity itself
		// tells of its own.
		if a.Kind == fleet.NeverHeard || a.Kind == fleet.Cloned || a.Kind == fleet.KeyUnknown {
			continue
		}
		w := fleet.WordOf("en", a.Kind)
		contact.Alarms = append(contact.Alarms, identity.Alarm{Depot: d.ID, Kind: a.Kind, Since: a.Since, What: w.What, Do: w.Do})
	}
	return contact
}
