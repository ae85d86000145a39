package central

import (
	"cmp"
	"context"
	"net/http"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/rollout"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
)

// direct is what a depot is to do beside giving its events; nil: nothing. That it cannot
// be found out keeps no events from being taken.
func (c *Central) direct(ctx context.Context, depot scan.DepotID, req *syncapi.Request) *directive.Directives {
	if !c.rollouts.Active() && !c.settings.Active() {
		return nil
	}
	said := directive.UpdateState{Version: req.Agent}
	if u := req.Update; u != nil {
		said = *u
		said.Version = cmp.Or(u.Version, req.Agent)
	}
	said = said.Bounded() // it is kept, and shown
	d := rollout.Depot{ID: depot, Version: said.Version}
	if req.Update != nil {
		d.Update = &said
	}
	r, err := c.ids.Registration(ctx, depot)
	if err != nil {
		return nil
	}
	if r != nil {
		d.Site, d.Labels = r.Site, r.Labels
	}
	want := c.rollouts.Hear(ctx, d)
	if want.Config = c.settings.Of(depot, d.Site, d.Labels); want != (directive.Directives{}) {
		return &want
	}
	return nil
}

// about is what a configuration may be selected by.
func (c *Central) about(r *http.Request, id scan.DepotID) (site string, labels map[string]string, err error) {
	reg, err := c.ids.Registration(r.Context(), id)
	if reg != nil {
		site, labels = reg.Site, reg.Labels
	}
	return site, labels, err
}

// configured is what depots say of the configurations that they got from here.
func (c *Central) configured(r *http.Request) (list []*directive.ConfigState, err error) {
	all, err := c.depots(r.Context())
	for i := range all {
		if s := all[i].Config; s != nil {
			list = append(list, s)
		}
	}
	return list, err
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
