package judge

import (
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// newLife: a create_time this much later means a reused number; lifeMargin: how
// long before its create_time a node may be.
const (
	newLife    = 30 * 24 * time.Hour
	lifeMargin = 24 * time.Hour
)

// Node is a path node with the number it came under.
type Node struct {
	scan.PathNode
	Epoch, Seq uint64
}

// State is all that is known of one waybill. nil is a waybill never heard of.
type State struct {
	Data     *scan.Waybill // nil: none
	Imported bool          // Data came from the carrier
	// Since is where the present life of a reused number begins, unix
	// seconds; 0 in the first life. Nodes before it are not in the path.
	Since int64
	Nodes []Node // in the order in which they were merged; none of a parcel
	// Mother is the waybill of which this number is a parcel's; "": none.
	Mother   scan.WaybillID
	Children int    // how many parcels have this as their mother
	Changed  int64  // unix seconds
	Applied  uint64 // number of the last record in it
	// Anew: it began anew, as what was known before cannot be read any more. Until there
	// is data nobody may be told that there is none.
	Anew bool
}

// LostData reports whether there may be data that cannot be read.
func (s *State) LostData() bool { return s != nil && s.Data == nil && s.Anew }

// clone returns a state that may be changed: the nodes are never written in
// place, and the capacity is cut so that an append copies them.
func (s *State) clone() *State {
	if s == nil {
		return &State{}
	}
	c := *s
	c.Nodes = s.Nodes[:len(s.Nodes):len(s.Nodes)]
	return &c
}

// HasData reports whether there is waybill data.
func (s *State) HasData() bool { return s != nil && s.Data != nil }

// MotherID is whose parcel the number is; "" if it is none.
func (s *State) MotherID() scan.WaybillID {
	if s == nil {
		return ""
	}
	return s.Mother
}

// find returns the node with that identity, or nil.
func (s *State) find(depot scan.DepotID, parcel scan.WaybillID, eventID string) *Node {
	if s == nil {
		return nil
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.EventID == eventID && n.Depot == depot && n.Parcel == parcel {
			return n
		}
	}
	return nil
}

// Scanned reports whether the path has a node of the depot; "" stands for any, and
// for none.
func (s *State) Scanned(by scan.DepotID) bool {
	return by == "" || s != nil && slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Depot == by })
}

// full reports whether the path takes no more nodes of the depot; its parcels' are
// nobody's.
func (s *State) full(depot scan.DepotID) bool {
	if s == nil || len(s.Nodes) < snapshot.NodesOf(len(s.Nodes)) {
		return false // whoever has them
	}
	own := 0
	for i := range s.Nodes {
		if s.Nodes[i].Depot == depot && s.Nodes[i].Parcel == "" {
			own++
		}
	}
	return own >= snapshot.NodesOf(len(s.Nodes)-own)
}

// fullOfParcels reports whether a parcel's scan adds no node any more.
func (s *State) fullOfParcels() bool { return s != nil && len(s.Nodes) >= snapshot.MaxParcelNodes }

// newer reports whether the path has an unmuted node newer than t of another
// depot than but; parcels' nodes make nothing late. Ties are not newer.
func (s *State) newer(t int64, but scan.DepotID) bool {
	for i := range s.Nodes {
		if n := &s.Nodes[i]; !n.Muted && n.Parcel == "" && n.ActionTime > t && n.Depot != but {
			return true
		}
	}
	return false
}

// pastLife reports whether a node of time t belongs to an earlier life.
func (s *State) pastLife(t int64) bool { return s != nil && s.Since != 0 && t < s.Since }

// wants reports whether data would change the waybill's data.
func (s *State) wants(data scan.Waybill, imported bool) bool {
	switch {
	case s == nil || s.Data == nil:
		return true
	case s.startsLife(data):
		return true
	case imported:
		return !s.Imported || *s.Data != data
	default:
		return false
	}
}

func (s *State) startsLife(data scan.Waybill) bool {
	return s.Data != nil && data.CreateTime > s.Data.CreateTime+int64(newLife/time.Second)
}

// takeData puts data in, which wants has approved; s is a clone.
func (s *State) takeData(data scan.Waybill, imported bool, now int64) {
	begin := data.CreateTime - int64(lifeMargin/time.Second)
	switch {
	case s.startsLife(data):
		s.Since = begin
		s.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n Node) bool { return s.pastLife(n.ActionTime) })
	case s.Since != 0: // a create_time that is put right moves the beginning too
		s.Since = min(s.Since, begin)
	}
	s.Data, s.Imported, s.Changed, s.Mother = &data, imported, now, ""
}

// takeNode appends n unless it belongs to an earlier life; s is a clone.
func (s *State) takeNode(n Node, now int64) {
	s.Changed = now
	if !s.pastLife(n.ActionTime) {
		s.Nodes = append(s.Nodes, n)
	}
}

// becomeParcel makes the number a parcel's; its nodes were moved. s is a clone.
func (s *State) becomeParcel(mother scan.WaybillID, now int64) {
	*s = State{Mother: mother, Changed: now, Anew: s.Anew}
}

// View returns the state as callers see it.
func (s *State) View(id scan.WaybillID) snapshot.Waybill {
	w := snapshot.Waybill{ID: id, Data: s.Data, Imported: s.Imported, Changed: time.Unix(s.Changed, 0)}
	if s.Since != 0 {
		w.Life = time.Unix(s.Since, 0)
	}
	w.Nodes = make([]scan.PathNode, len(s.Nodes))
	for i := range s.Nodes {
		w.Nodes[i] = s.Nodes[i].PathNode
	}
	return w
}

// Answer judges an ask; kept is what the number came to, if that is known, and
// mother the state of MotherID.
func (s *State) Answer(mother *State, depot scan.DepotID, ask *snapshot.Ask, kept Kept, known bool) snapshot.Answer {
	if s.MotherID() != "" {
		return ofParcel(mother.answer(depot, ask.Waybill, ask, kept, known))
	}
	return s.answer(depot, "", ask, kept, known)
}

// other is the epoch under which a node came, if it is not this one; else, and of none, 0.
func (n *Node) other(epoch uint64) uint64 {
	if n == nil || n.Epoch == epoch {
		return 0
	}
	return n.Epoch
}

const reasonParcel = "a parcel's number: its scans go into the path of its waybill, whose own are pushed"

// ofParcel is the answer about a parcel's scan: it goes into the path of the
// mother, and only the mother's own scans are pushed.
func ofParcel(a snapshot.Answer) snapshot.Answer {
	if a.Result == snapshot.Taken || a.Result == snapshot.Late {
		a.Result, a.Reason = snapshot.Late, reasonParcel
	}
	return a
}

func (s *State) answer(depot scan.DepotID, parcel scan.WaybillID, ask *snapshot.Ask, kept Kept, known bool) snapshot.Answer {
	a := snapshot.Answer{Result: snapshot.Unknown, HasData: s.HasData()}
	n := s.find(depot, parcel, ask.EventID)
	known = known && kept.Ident == Identity(ask.Waybill, ask.EventID)
	switch {
	case known && (kept.Result == snapshot.Duplicate || kept.Result == snapshot.Late):
		a.Result = kept.Result
	case known && kept.Result == snapshot.Refused:
		a.Result, a.Reason = snapshot.Refused, reasonFull
	case n != nil && !known && n.Seq != ask.Seq:
		a.Result = snapshot.Duplicate
	case n != nil && (n.Late || s.newer(n.ActionTime, depot)):
		a.Result = snapshot.Late // its own depot's later nodes are pushed after it in order
	case n != nil:
		a.Result, a.Epoch = snapshot.Taken, n.other(ask.Epoch)
	case known && s != nil && s.Since != 0:
		a.Result = snapshot.Late // it left the path with its life
	}
	return a
}
