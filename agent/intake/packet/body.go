package packet

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// body reads the fields of a packet. The first thing that is wrong stays; what is
// read after it is zero.
type body struct {
	rest []byte
	err  error
}

func (b *body) fail(err error) {
	if b.err == nil {
		b.err, b.rest = err, nil
	}
}

func (b *body) take(n int) []byte {
	if n > len(b.rest) {
		b.fail(malformed("it ends too soon"))
		return nil
	}
	got := b.rest[:n:n]
	b.rest = b.rest[n:]
	return got
}

func (b *body) uint8() byte {
	if got := b.take(1); got != nil {
		return got[0]
	}
	return 0
}

func (b *body) uint16() uint16 {
	if got := b.take(2); got != nil {
		return binary.BigEndian.Uint16(got)
	}
	return 0
}

func (b *body) uint32() uint32 {
	if got := b.take(4); got != nil {
		return binary.BigEndian.Uint32(got)
	}
	return 0
}

func (b *body) varint() (n int) {
	for shift := 0; shift <= 21; shift += 7 {
		v := b.uint8()
		n |= int(v&0x7f) << shift
		if v < 0x80 {
			return n
		}
	}
	b.fail(malformed("a number of more than four bytes"))
	return 0
}

func (b *body) bytes() []byte { return b.take(int(b.uint16())) }

func (b *body) text() string {
	got := b.bytes()
	if !utf8.Valid(got) || bytes.IndexByte(got, 0) >= 0 {
		b.fail(malformed("a text that is not UTF-8, or holds U+0000"))
		return ""
	}
	return string(got)
}

// id reads a packet id.
func (b *body) id() uint16 {
	id := b.uint16()
	if id == 0 {
		b.fail(violation("packet id 0"))
	}
	return id
}

// end returns what is wrong, which something left over is too.
func (b *body) end() error {
	if len(b.rest) > 0 {
		b.fail(malformed("%d bytes too many", len(b.rest)))
	}
	return b.err
}

// Properties of MQTT 5 that this server looks at.
const (
	propSessionExpiry   = 0x11
	propAssignedID      = 0x12
	propAuthMethod      = 0x15
	propReceiveMaximum  = 0x21
	propReasonString    = 0x1f
	propTopicAlias      = 0x23
	propUser            = 0x26
	propMaxPacket       = 0x27
	propSharedAvailable = 0x2a
)

// properties are numbers by what they are; a text counts as 1.
type properties map[byte]uint32

func (p properties) get(id byte) (uint32, bool) {
	v, ok := p[id]
	return v, ok
}

// properties reads those of a packet, which may have the ones allowed.
func (b *body) properties(allowed string) (p properties) {
	all := body{rest: b.take(b.varint())}
	if b.err != nil || len(all.rest) == 0 {
		return nil
	}
	p = make(properties)
	for len(all.rest) > 0 {
		id := all.uint8()
		if strings.IndexByte(allowed, id) < 0 {
			b.fail(violation("property %#x does not belong here", id))
			return nil
		}
		if _, twice := p[id]; twice && id != propUser {
			b.fail(violation("property %#x twice", id))
		}
		p[id] = all.property(id)
	}
	if all.err != nil {
		b.fail(all.err)
	}
	return p
}

func (b *body) property(id byte) uint32 {
	switch id {
	case 0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, propSharedAvailable:
		return uint32(b.uint8())
	case 0x13, propReceiveMaximum, 0x22, propTopicAlias:
		return uint32(b.uint16())
	case 0x02, propSessionExpiry, 0x18, propMaxPacket:
		return b.uint32()
	case 0x0b:
		return uint32(b.varint())
	case 0x09, 0x16:
		b.bytes()
	case propUser:
		b.text()
		b.text()
	default:
		b.text()
	}
	return 1
}
