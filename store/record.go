package store

import (
	"fmt"
	"time"

	"scanrelay/agent/scan"
)

// What an event's record has beside its fixed fields.
const (
	hasWeak = 1 << iota
	hasClockless
	hasPickup
	hasDelivery
	hasData
	knownParts = hasWeak | hasClockless | hasPickup | hasDelivery | hasData
)

// encodeEvent begins the frame of e; it is sealed once its number and segment
// are known.
// What a start needs of every pending event comes first.
func encodeEvent(e *scan.Event) []byte {
	enc := newEncoder(96 + len(e.Waybill) + len(e.EventID) + len(e.ActionMsg) + len(e.DeviceID))
	enc.byte(partsOf(e))
	enc.byte(byte(e.Marks))
	enc.int(int64(e.ActionType))
	enc.int(e.ActionTime)
	enc.time(e.ReceivedAt)
	enc.string(string(e.Waybill))
	enc.string(e.EventID)
	if e.Weak != (scan.WeakKey{}) {
		enc.fixed(e.Weak[:])
	}
	if c := e.Clockless; c != nil {
		enc.string(c.Boot)
		enc.int(int64(c.Since))
	}
	enc.string(e.ActionMsg.Reveal())
	enc.string(e.DeviceID)
	encodeCourier(enc, e.Pickup)
	encodeCourier(enc, e.Delivery)
	if e.Data != nil {
		enc.int(e.Data.CreateTime)
		encodeParty(enc, &e.Data.Sender)
		encodeParty(enc, &e.Data.Receiver)
	}
	return enc.b
}

func partsOf(e *scan.Event) (parts byte) {
	set := func(cond bool, bit byte) {
		if cond {
			parts |= bit
		}
	}
	set(e.Weak != (scan.WeakKey{}), hasWeak)
	set(e.Clockless != nil, hasClockless)
	set(e.Pickup != (scan.Courier{}), hasPickup)
	set(e.Delivery != (scan.Courier{}), hasDelivery)
	set(e.Data != nil, hasData)
	return parts
}

func encodeCourier(enc *encoder, c scan.Courier) {
	if c != (scan.Courier{}) {
		enc.string(c.Name.Reveal())
		enc.string(c.Phone.Reveal())
	}
}

func encodeParty(enc *encoder, p *scan.Party) {
	enc.string(p.Phone.Reveal())
	for _, f := range partyTexts(p) {
		enc.string(f.Reveal())
	}
}

// head is what a start needs of an event; its texts point into the record.
type head struct {
	parts     byte
	marks     scan.Marks
	action    scan.ActionType
	time      int64
	received  time.Time
	waybill   []byte
	eventID   []byte
	weak      scan.WeakKey
	boot      []byte
	bootSince time.Duration
}

func decodeHead(d *decoder) (h head) {
	h.parts = d.byte()
	if h.parts&^knownParts != 0 {
		d.fail("unknown parts")
	}
	h.marks = scan.Marks(d.byte())
	h.action = scan.ActionType(d.int())
	h.time = d.int()
	h.received = d.time()
	h.waybill = d.bytes()
	h.eventID = d.bytes()
	if h.parts&hasWeak != 0 {
		h.weak = scan.WeakKey(d.fixed(len(h.weak)))
	}
	if h.parts&hasClockless != 0 {
		h.boot = d.bytes()
		h.bootSince = time.Duration(d.int())
	}
	return h
}

// peekEvent reads only the head of a decrypted record; its texts live as long
// as body.
func peekEvent(body []byte) (head, error) {
	d := &decoder{b: body}
	h := decodeHead(d)
	return h, d.err
}

// decodeEvent reads a decrypted record completely; nothing of body is kept.
func decodeEvent(body []byte) (scan.Event, error) {
	d := &decoder{b: body}
	h := decodeHead(d)
	e := scan.Event{
		EventID: string(h.eventID), Waybill: scan.WaybillID(h.waybill),
		ActionType: h.action, ActionTime: h.time,
		ReceivedAt: h.received, Marks: h.marks, Weak: h.weak,
	}
	if h.parts&hasClockless != 0 {
		e.Clockless = &scan.BootTime{Boot: string(h.boot), Since: h.bootSince}
	}
	e.ActionMsg = scan.Text(d.string())
	e.DeviceID = d.string()
	e.Pickup = decodeCourier(d, h.parts&hasPickup != 0)
	e.Delivery = decodeCourier(d, h.parts&hasDelivery != 0)
	if h.parts&hasData != 0 {
		e.Data = &scan.Waybill{CreateTime: d.int()}
		decodeParty(d, &e.Data.Sender)
		decodeParty(d, &e.Data.Receiver)
	}
	if err := d.done(); err != nil {
		return scan.Event{}, fmt.Errorf("decode event: %w", err)
	}
	return e, nil
}

func decodeCourier(d *decoder, there bool) (c scan.Courier) {
	if there {
		c.Name = scan.Private(d.string())
		c.Phone = scan.Phone(d.string())
	}
	return c
}

func decodeParty(d *decoder, p *scan.Party) {
	p.Phone = scan.Phone(d.string())
	for _, f := range partyTexts(p) {
		*f = scan.Private(d.string())
	}
}

// partyTexts lists a party's texts in the order in which they stand on disk.
func partyTexts(p *scan.Party) [7]*scan.Private {
	return [7]*scan.Private{&p.Name, &p.Province, &p.City, &p.Area, &p.Street, &p.Address, &p.ID}
}
