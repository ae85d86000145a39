package central

import (
	"cmp"
	"context"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/rollout"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
)

// direct is what a depot is to do beside giving its events; nil: nothing. That it cannot
// be found out keeps no events from being taken.
func (c *Central) direct(ctx context.Context, depot scan.DepotID, req *syncapi.Request) *directive.Directives {
	if !c.rollouts.Active() {
		return nil
	}
	d := rollout.Depot{ID: depot, Version: req.Agent}
	if u := req.Update; u != nil {
		bounded := u.Bounded()
		d.Update, d.Version = &bounded, cmp.Or(bounded.Version, d.Version)
	}
	r, err := c.ids.Registration(ctx, depot)
	if err != nil {
		return nil
	}
	if r != nil {
		d.Site, d.Labels = r.Site, r.Labels
	}
	if want := c.rollouts.Hear(ctx, d); want != (directive.Directives{}) {
		return &want
	}
	return nil
}

// members is the fleet as rollouts see it.
func (c *Central) members(ctx context.Context) ([]rollout.Depot, error) {
	all, err := c.depots(ctx)
	list := make([]rollout.Depot, len(all))
	for i := range all {
		d := &all[i]
		list[i] = rollout.Depot{
			ID: d.ID, Site: d.Site, Labels: d.Labels, Version: d.Version, Update: d.Update, Away: d.Away, Revoked: d.Revoked(),
		}
		if d.Update != nil {
			list[i].Version = cmp.Or(d.Update.Version, d.Version)
		}
	}
	return list, err
}
