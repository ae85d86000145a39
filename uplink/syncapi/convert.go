package syncapi

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"scanrelay/agent/scan"
)

// FormatEpoch puts an epoch on the wire: 16 hex digits.
func FormatEpoch(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// ParseEpoch reads what FormatEpoch wrote.
func ParseEpoch(s string) (uint64, error) {
	if len(s) != 16 {
		return 0, errors.New("not 16 digits")
	}
	return strconv.ParseUint(s, 16, 64)
}

// FromEvent puts a scan event on the wire under its number.
func FromEvent(seq uint64, e scan.Event, muted bool) Event {
	w := Event{
		Seq: seq, EventID: e.EventID, WaybillID: e.Waybill,
		ActionTime: e.ActionTime, ActionType: e.ActionType, ActionMsg: e.ActionMsg.Reveal(),
		ReceivedAt: e.ReceivedAt.Unix(),
		PickupName: e.Pickup.Name.Reveal(), PickupPhone: e.Pickup.Phone.Reveal(),
		DeliverName: e.Delivery.Name.Reveal(), DeliverPhone: e.Delivery.Phone.Reveal(),
		Muted: muted,
	}
	if e.Data != nil {
		data := FromWaybill(*e.Data)
		w.Waybill = &data
	}
	return w
}

// Event returns the scan event that w carries.
func (w Event) Event() scan.Event {
	e := scan.Event{
		EventID: w.EventID, Waybill: w.WaybillID,
		ActionTime: w.ActionTime, ActionType: w.ActionType, ActionMsg: scan.Text(w.ActionMsg),
		Pickup:     scan.Courier{Name: scan.Private(w.PickupName), Phone: scan.Phone(w.PickupPhone)},
		Delivery:   scan.Courier{Name: scan.Private(w.DeliverName), Phone: scan.Phone(w.DeliverPhone)},
		ReceivedAt: time.Unix(w.ReceivedAt, 0),
	}
	if w.Waybill != nil {
		data := w.Waybill.Scan()
		e.Data = &data
	}
	return e
}

// FromWaybill puts waybill data on the wire.
func FromWaybill(w scan.Waybill) Waybill {
	return Waybill{CreateTime: w.CreateTime, Sender: fromParty(w.Sender), Receiver: fromParty(w.Receiver)}
}

// Scan returns the waybill data that w carries.
func (w Waybill) Scan() scan.Waybill {
	return scan.Waybill{CreateTime: w.CreateTime, Sender: w.Sender.scan(), Receiver: w.Receiver.scan()}
}

func fromParty(p scan.Party) Party {
	return Party{
		Name: p.Name.Reveal(), Phone: p.Phone.Reveal(), Province: p.Province.Reveal(), City: p.City.Reveal(),
		Area: p.Area.Reveal(), Street: p.Street.Reveal(), Address: p.Address.Reveal(), ID: p.ID.Reveal(),
	}
}

func (p Party) scan() scan.Party {
	return scan.Party{
		Name: scan.Private(p.Name), Phone: scan.Phone(p.Phone), Province: scan.Private(p.Province), City: scan.Private(p.City),
		Area: scan.Private(p.Area), Street: scan.Private(p.Street), Address: scan.Private(p.Address), ID: scan.Private(p.ID),
	}
}
