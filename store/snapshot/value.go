package snapshot

import (
	"scanrelay/agent/scan"
)

// The form of a value in the bucket waybills. A field is only ever added at the
// end, where the version before ignores it; any other change is a new number.
const stateForm = 1

const (
	flagData = 1 << iota
	flagImported
)

const (
	flagMuted = 1 << iota
	flagLate
)

func encodeState(s *state) []byte {
	e := enc{b: make([]byte, 0, 256+160*len(s.nodes))}
	e.byte(stateForm)
	var flags byte
	if s.data != nil {
		flags |= flagData
	}
	if s.imported {
		flags |= flagImported
	}
	e.byte(flags)
	e.int(s.since)
	e.int(s.changed)
	e.uint(s.applied)
	if s.data != nil {
		e.waybill(s.data)
	}
	e.uint(uint64(len(s.nodes)))
	for i := range s.nodes {
		e.node(&s.nodes[i])
	}
	return seal(e.b)
}

// decodeState copies what it needs out of b.
func decodeState(b []byte) (*state, error) {
	body, err := unseal(b)
	if err != nil {
		return nil, err
	}
	d := dec{s: string(body)}
	if d.byte() != stateForm {
		return nil, errDamaged
	}
	flags := d.byte()
	s := &state{imported: flags&flagImported != 0, since: d.int(), changed: d.int(), applied: d.uint()}
	if flags&flagData != 0 {
		w := d.waybill()
		s.data = &w
	}
	s.nodes = make([]node, d.count(minNode))
	for i := range s.nodes {
		s.nodes[i] = d.node()
	}
	return s, d.err()
}

// changedOf reads when a state was last changed without decoding the rest.
func changedOf(b []byte) (int64, error) {
	if _, err := unseal(b); err != nil {
		return 0, err
	}
	d := dec{s: string(b[:min(len(b)-4, 32)])}
	if d.byte() != stateForm {
		return 0, errDamaged
	}
	d.byte()
	d.int()
	return d.int(), d.err()
}

func (e *enc) waybill(w *scan.Waybill) {
	e.int(w.CreateTime)
	e.party(&w.Sender)
	e.party(&w.Receiver)
}

func (d *dec) waybill() scan.Waybill {
	return scan.Waybill{CreateTime: d.int(), Sender: d.party(), Receiver: d.party()}
}

func (e *enc) party(p *scan.Party) {
	e.str(p.Name.Reveal())
	e.str(p.Phone.Reveal())
	e.str(p.Province.Reveal())
	e.str(p.City.Reveal())
	e.str(p.Area.Reveal())
	e.str(p.Street.Reveal())
	e.str(p.Address.Reveal())
	e.str(p.ID.Reveal())
}

func (d *dec) party() scan.Party {
	private := func() scan.Private { return scan.Private(d.str()) }
	return scan.Party{
		Name: private(), Phone: scan.Phone(d.str()), Province: private(), City: private(),
		Area: private(), Street: private(), Address: private(), ID: private(),
	}
}

func (e *enc) courier(c *scan.Courier) {
	e.str(c.Name.Reveal())
	e.str(c.Phone.Reveal())
}

func (d *dec) courier() scan.Courier {
	return scan.Courier{Name: scan.Private(d.str()), Phone: scan.Phone(d.str())}
}

const minNode = 19 // bytes that an empty node takes

func (e *enc) node(n *node) {
	e.str(string(n.Depot))
	e.str(n.EventID)
	e.int(n.ActionTime)
	e.int(int64(n.ActionType))
	e.str(n.ActionMsg.Reveal())
	e.courier(&n.Pickup)
	e.courier(&n.Delivery)
	var flags byte
	if n.Muted {
		flags |= flagMuted
	}
	if n.Late {
		flags |= flagLate
	}
	e.byte(flags)
	e.fix(n.epoch)
	e.uint(n.seq)
}

func (d *dec) node() node {
	n := node{PathNode: scan.PathNode{
		Depot: scan.DepotID(d.str()), EventID: d.str(), ActionTime: d.int(), ActionType: scan.ActionType(d.int()),
		ActionMsg: scan.Text(d.str()), Pickup: d.courier(), Delivery: d.courier(),
	}}
	flags := d.byte()
	n.Muted, n.Late = flags&flagMuted != 0, flags&flagLate != 0
	n.epoch, n.seq = d.fix(), d.uint()
	return n
}
