package central

import (
	"context"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/fleet"
	"scanrelay/uplink/central/identity"
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
	list, err := c.listDepots(ctx)
	if err == nil {
		r.list, r.at = list, time.Now()
	}
	return list, err
}

func (c *Central) listDepots(ctx context.Context) (list []fleet.Depot, err error) {
	members, err := c.presence.Members(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[scan.DepotID]*fleet.Depot, len(members))
	get := func(id scan.DepotID) *fleet.Depot {
		d := all[id]
		if d == nil {
			m, heard := members[id]
			m.Away = m.Away || !heard
			d = &fleet.Depot{ID: id, Member: m}
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
		d := get(n.ID)
		if d.Depot = n; d.Member.Epoch == "" && n.Epoch != 0 {
			d.Member.Epoch = syncapi.FormatEpoch(n.Epoch)
		}
	}
	registered, err := c.ids.Registrations(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range registered {
		d := get(r.ID)
		d.Name, d.Site, d.Labels, d.Identity = r.Name, r.Site, r.Labels, r.State()
	}
	cloned := map[scan.DepotID][]fleet.Alarm{}
	seen, err := c.ids.Seen(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range seen {
		cloned[a.Depot] = append(cloned[a.Depot], fleet.Alarm{Kind: a.Kind, Since: a.Since})
	}
	for id, d := range all {
		if d.Share, d.Backlog, err = c.shares.Of(ctx, id); err != nil {
			return nil, err
		}
		d.Judge(cloned[id]...)
		list = append(list, *d)
	}
	return list, nil
}

// heard tells the last word of each depot, and what is wrong with it.
func (c *Central) heard(ctx context.Context) (map[scan.DepotID]identity.Contact, error) {
	list, err := c.listDepots(ctx)
	all := make(map[scan.DepotID]identity.Contact, len(list))
	for i := range list {
		d := &list[i]
		contact := identity.Contact{At: d.Last, Version: d.Version, OSArch: d.OSArch, Away: d.Away, Health: d.Health}
		for _, a := range d.Wrong {
			// All were never heard for a moment when a centre starts; identity itself
			// tells of its own.
			if a.Kind == fleet.NeverHeard || a.Kind == fleet.Cloned {
				continue
			}
			w := fleet.WordOf("en", a.Kind)
			contact.Alarms = append(contact.Alarms, identity.Alarm{Depot: d.ID, Kind: a.Kind, Since: a.Since, What: w.What, Do: w.Do})
		}
		all[d.ID] = contact
	}
	return all, err
}
