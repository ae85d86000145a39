package snapshot

import (
	"time"

	"scanrelay/agent/scan"
)

// node is a path node with the number it came under.
type node struct {
	scan.PathNode
	epoch, seq uint64
}

// state is all that is known of one waybill. A published state is never
// changed: clone it first.
type state struct {
	data     *scan.Waybill
	imported bool
	// since is where the present life of a reused number begins, unix
	// seconds; 0 in the first life. Nodes before it are not in the path.
	since   int64
	nodes   []node // in the order in which they were merged
	changed int64  // unix seconds
	applied uint64 // number of the last log record in it
}

// clone returns a state that may be changed: the nodes are never written in
// place, and the capacity is cut so that an append copies them.
func (s *state) clone() *state {
	if s == nil {
		return &state{}
	}
	c := *s
	c.nodes = s.nodes[:len(s.nodes):len(s.nodes)]
	return &c
}

func (s *state) hasData() bool { return s != nil && s.data != nil }

// find returns the node with that identity, or nil.
func (s *state) find(depot scan.DepotID, eventID string) *node {
	if s == nil {
		return nil
	}
	for i := range s.nodes {
		if n := &s.nodes[i]; n.EventID == eventID && n.Depot == depot {
			return n
		}
	}
	return nil
}

// lateAmong reports whether the path has an unmuted node newer than t. Ties are
// not late (design.md section 2, Lateness).
func (s *state) lateAmong(t int64) bool {
	for i := range s.nodes {
		if n := &s.nodes[i]; !n.Muted && n.ActionTime > t {
			return true
		}
	}
	return false
}

// lateNow reports whether n, taken before, must not be pushed any more: its own
// depot's later nodes are pushed after it in order, those of other depots are
// not (syncapi, Answers).
func (s *state) lateNow(n *node) bool {
	if n.Late {
		return true
	}
	for i := range s.nodes {
		if o := &s.nodes[i]; !o.Muted && o.Depot != n.Depot && o.ActionTime > n.ActionTime {
			return true
		}
	}
	return false
}

// pastLife reports whether a node of time t belongs to an earlier life.
func (s *state) pastLife(t int64) bool { return s != nil && s.since != 0 && t < s.since }

// wants reports whether data would change the waybill's data; the rules are
// design.md section 2, Waybill data.
func (s *state) wants(data scan.Waybill, imported bool) bool {
	switch {
	case s == nil || s.data == nil:
		return true
	case s.startsLife(data):
		return true
	case imported:
		return !s.imported || *s.data != data
	default:
		return false
	}
}

func (s *state) startsLife(data scan.Waybill) bool {
	return s.data != nil && data.CreateTime > s.data.CreateTime+int64(newLife/time.Second)
}

// takeData puts data in, which wants has approved; s is a clone.
func (s *state) takeData(data scan.Waybill, imported bool, now int64) {
	begin := data.CreateTime - int64(lifeMargin/time.Second)
	switch {
	case s.startsLife(data):
		s.since = begin
		s.cutPast()
	case s.since != 0: // a create_time that is put right moves the beginning too
		s.since = min(s.since, begin)
	}
	s.data, s.imported, s.changed = &data, imported, now
}

// cutPast drops the nodes of the last life.
func (s *state) cutPast() {
	kept := make([]node, 0, len(s.nodes))
	for _, n := range s.nodes {
		if !s.pastLife(n.ActionTime) {
			kept = append(kept, n)
		}
	}
	s.nodes = kept
}

// takeNode appends n unless it belongs to an earlier life; s is a clone.
func (s *state) takeNode(n node, now int64) {
	s.changed = now
	if !s.pastLife(n.ActionTime) {
		s.nodes = append(s.nodes, n)
	}
}

// view returns the state as callers see it.
func (s *state) view(id scan.WaybillID) Waybill {
	w := Waybill{ID: id, Data: s.data, Imported: s.imported, Changed: time.Unix(s.changed, 0)}
	w.Nodes = make([]scan.PathNode, len(s.nodes))
	for i := range s.nodes {
		w.Nodes[i] = s.nodes[i].PathNode
	}
	return w
}
