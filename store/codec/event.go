package codec

import (
	"fmt"
	"math"
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
	hasClient
	knownParts = hasWeak | hasClockless | hasPickup | hasDelivery | hasData | hasClient
)

// EncodeEvent begins the frame of e; it is encrypted and closed once its number
// and segment are known.
// What a start needs of every pending event comes first.
func EncodeEvent(e *scan.Event) []byte {
	enc := NewEncoder(96 + len(e.Waybill) + len(e.EventID) + len(e.ActionMsg) + len(e.DeviceID))
	enc.Byte(partsOf(e))
	enc.Byte(byte(e.Marks))
	enc.Int(int64(e.ActionType))
	enc.Int(e.ActionTime)
	enc.Time(e.ReceivedAt)
	enc.Text(string(e.Waybill))
	enc.Text(e.EventID)
	if e.Weak != (scan.WeakKey{}) {
		enc.fixed(e.Weak[:])
	}
	if c := e.Clockless; c != nil {
		enc.Text(c.Boot)
		enc.Int(int64(c.Since))
	}
	if e.Client != 0 {
		enc.Uint(uint64(e.Client))
	}
	enc.Text(e.ActionMsg.Reveal())
	enc.Text(e.DeviceID)
	encodeCourier(enc, e.Pickup)
	encodeCourier(enc, e.Delivery)
	if e.Data != nil {
		enc.Int(e.Data.CreateTime)
		encodeParty(enc, &e.Data.Sender)
		encodeParty(enc, &e.Data.Receiver)
	}
	return enc.Begun()
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
	set(e.Client != 0, hasClient)
	return parts
}

func encodeCourier(enc *Encoder, c scan.Courier) {
	if c != (scan.Courier{}) {
		enc.Text(c.Name.Reveal())
		enc.Text(c.Phone.Reveal())
	}
}

func encodeParty(enc *Encoder, p *scan.Party) {
	enc.Text(p.Phone.Reveal())
	for _, f := range partyTexts(p) {
		enc.Text(f.Reveal())
	}
}

// Head is what a start needs of an event; its texts point into the record.
type Head struct {
	parts     byte
	Marks     scan.Marks
	action    scan.ActionType
	Time      int64
	Received  time.Time
	Waybill   []byte
	EventID   []byte
	Weak      scan.WeakKey
	Boot      []byte
	BootSince time.Duration
	Client    uint16
	Size      int // of the record, as EncodeEvent returned it
}

// IsWeak reports whether the event has no key of its own but its weak one.
func (h *Head) IsWeak() bool { return h.parts&hasWeak != 0 }

// IsClockless reports whether the event came before the clock was known.
func (h *Head) IsClockless() bool { return h.parts&hasClockless != 0 }

func decodeHead(d *Decoder) (h Head) {
	h.parts = d.Byte()
	if h.parts&^knownParts != 0 {
		d.Fail("unknown parts")
	}
	h.Marks = scan.Marks(d.Byte())
	h.action = scan.ActionType(d.Int())
	h.Time = d.Int()
	h.Received = d.Time()
	h.Waybill = d.bytes()
	h.EventID = d.bytes()
	if h.IsWeak() {
		copy(h.Weak[:], d.take(uint64(len(h.Weak))))
	}
	if h.IsClockless() {
		h.Boot = d.bytes()
		h.BootSince = time.Duration(d.Int())
	}
	if h.parts&hasClient != 0 {
		if n := d.Uint(); n > 0 && n <= math.MaxUint16 {
			h.Client = uint16(n)
		} else {
			d.Fail("no client")
		}
	}
	return h
}

// PeekEvent reads only the head of a decrypted record; its texts live as long
// as body.
func PeekEvent(body []byte) (Head, error) {
	d := NewDecoder(body)
	h := decodeHead(d)
	h.Size = 1 + len(body)
	return h, d.err
}

// DecodeEvent reads a decrypted record completely; nothing of body is kept.
func DecodeEvent(body []byte) (scan.Event, error) {
	d := NewDecoder(body)
	h := decodeHead(d)
	e := scan.Event{
		EventID: string(h.EventID), Waybill: scan.WaybillID(h.Waybill),
		ActionType: h.action, ActionTime: h.Time,
		ReceivedAt: h.Received, Marks: h.Marks, Weak: h.Weak, Client: h.Client,
	}
	if h.IsClockless() {
		e.Clockless = &scan.BootTime{Boot: string(h.Boot), Since: h.BootSince}
	}
	e.ActionMsg = scan.Text(d.Text())
	e.DeviceID = d.Text()
	e.Pickup = decodeCourier(d, h.parts&hasPickup != 0)
	e.Delivery = decodeCourier(d, h.parts&hasDelivery != 0)
	if h.parts&hasData != 0 {
		e.Data = &scan.Waybill{CreateTime: d.Int()}
		decodeParty(d, &e.Data.Sender)
		decodeParty(d, &e.Data.Receiver)
	}
	if err := d.Done(); err != nil {
		return scan.Event{}, fmt.Errorf("decode event: %w", err)
	}
	return e, nil
}

func decodeCourier(d *Decoder, there bool) (c scan.Courier) {
	if there {
		c.Name = scan.Private(d.Text())
		c.Phone = scan.Phone(d.Text())
	}
	return c
}

func decodeParty(d *Decoder, p *scan.Party) {
	p.Phone = scan.Phone(d.Text())
	for _, f := range partyTexts(p) {
		*f = scan.Private(d.Text())
	}
}

// partyTexts lists a party's texts in the order in which they stand on disk.
func partyTexts(p *scan.Party) [7]*scan.Private {
	return [7]*scan.Private{&p.Name, &p.Province, &p.City, &p.Area, &p.Street, &p.Address, &p.ID}
}

// SetTimes takes the times of an event whose clock is known by now.
func (h *Head) SetTimes(received time.Time, action int64, m scan.Marks) {
	h.Received, h.Time, h.Marks = received, action, m
	h.parts &^= hasClockless
}
