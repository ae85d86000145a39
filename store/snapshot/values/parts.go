package values

import (
	"bytes"
	"encoding/binary"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
)

// EpochKey is the key of one depot's epoch. A depot id holds no zero byte.
func EpochKey(depot scan.DepotID, epoch uint64) []byte {
	k := make([]byte, 0, len(depot)+17)
	k = append(k, depot...)
	k = append(k, 0)
	return binary.BigEndian.AppendUint64(k, epoch)
}

func ParseEpochKey(k []byte) (scan.DepotID, uint64, bool) {
	i := bytes.IndexByte(k, 0)
	if i < 0 || len(k) < i+9 {
		return "", 0, false
	}
	return scan.DepotID(k[:i]), binary.BigEndian.Uint64(k[i+1:]), true
}

// What is personal in a value stands in p, an encoder or decoder of its own: of what
// will be, or was, encrypted.

func (e *enc) waybill(p *enc, w *scan.Waybill) {
	e.int(w.CreateTime)
	p.party(&w.Sender)
	p.party(&w.Receiver)
}

func (d *dec) waybill(p *dec) scan.Waybill {
	return scan.Waybill{CreateTime: d.int(), Sender: p.party(), Receiver: p.party()}
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

// Bytes that an empty node takes: in values in clear, and in those of which a part is
// encrypted.
const (
	minClearNode = 19
	minNode      = 14
)

func (e *enc) node(p *enc, n *judge.Node) {
	e.str(string(n.Depot))
	e.str(n.EventID)
	e.int(n.ActionTime)
	e.int(int64(n.ActionType))
	p.str(n.ActionMsg.Reveal())
	p.courier(&n.Pickup)
	p.courier(&n.Delivery)
	var flags byte
	if n.Muted {
		flags |= flagMuted
	}
	if n.Late {
		flags |= flagLate
	}
	e.byte(flags)
	e.fix(n.Epoch)
	e.uint(n.Seq)
}

func (d *dec) node(p *dec) judge.Node {
	n := judge.Node{PathNode: scan.PathNode{
		Depot: scan.DepotID(d.str()), EventID: d.str(), ActionTime: d.int(), ActionType: scan.ActionType(d.int()),
		ActionMsg: scan.Text(p.str()), Pickup: p.courier(), Delivery: p.courier(),
	}}
	flags := d.byte()
	n.Muted, n.Late = flags&flagMuted != 0, flags&flagLate != 0
	n.Epoch, n.Seq = d.fix(), d.uint()
	return n
}
