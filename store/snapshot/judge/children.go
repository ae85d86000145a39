package judge

import (
	"fmt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// takeImport takes an item of an import, wholly or not at all.
func (m *merge) takeImport(item int, im *snapshot.Import) {
	if why := m.unfit(im); why != "" {
		m.out.Refused = append(m.out.Refused, snapshot.Refusal{Item: item, Why: why})
		return
	}
	m.takeData(im.Waybill, &im.Data, true)
	for _, child := range im.Children {
		m.takeChild(im.Waybill, child)
	}
}

// unfit tells why an item cannot be taken: a parcel has one mother and no parcels
// of its own, and no data but its mother's.
func (m *merge) unfit(im *snapshot.Import) string {
	st := m.state(im.Waybill)
	if mother := m.motherOf(im.Waybill, im); mother != "" {
		return fmt.Sprintf("waybill_id is a parcel's number, of waybill %s: import that one", mother)
	}
	all := map[scan.WaybillID]bool{}
	for _, child := range im.Children {
		c := m.state(child)
		switch mother := m.motherOf(child, im); {
		case snapshot.BadID(child) != "":
			return "children: " + snapshot.BadID(child)
		case child == im.Waybill:
			return "children: the waybill itself is among them"
		case mother == im.Waybill:
			continue
		case mother != "":
			return fmt.Sprintf("children: %s is a parcel of waybill %s already", child, mother)
		case c != nil && c.Children > 0:
			return fmt.Sprintf("children: %s is a waybill that has parcels itself", child)
		}
		all[child] = true
	}
	have := len(all)
	if st != nil {
		have += st.Children
	}
	if have > snapshot.MaxChildren {
		return fmt.Sprintf("children: the waybill would have %d, at most %d are taken", have, snapshot.MaxChildren)
	}
	return ""
}

// motherOf is whose parcel a number is, as far as an import minds: not that of a
// waybill which is forgotten, or so much older that the number is reused.
func (m *merge) motherOf(id scan.WaybillID, im *snapshot.Import) scan.WaybillID {
	mother := m.state(id).MotherID()
	if st := m.state(mother); mother != im.Waybill && (!st.HasData() || st.startsLife(im.Data)) {
		return ""
	}
	return mother
}

// takeChild makes a number a parcel's. What was scanned under it moves to its
// mother first, so that no state that is stored alone is without it.
func (m *merge) takeChild(mother, child scan.WaybillID) {
	st := m.state(child)
	if st.MotherID() == mother {
		return
	}
	if st != nil {
		for _, n := range st.Nodes {
			n.Parcel = child
			if to := m.state(mother); !to.fullOfParcels() && to.find(n.Depot, child, n.EventID) == nil {
				m.add(&Record{Kind: RecordMove, At: m.now, Waybill: mother, Node: n})
			}
		}
	}
	m.add(&Record{Kind: RecordChild, At: m.now, Waybill: child, Mother: mother})
	m.out.Gained = append(m.out.Gained, child)
}
