package packet

import "encoding/binary"

// finish puts the header before what follows it.
func finish(first byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(content))), content...) // MQTT's lengths are these
}

func appendText(b []byte, text string) []byte {
	text = text[:min(len(text), 1<<16-1)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// appendProperties appends what properties are, with their length.
func appendProperties(b, all []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(all))), all...)
}

// Connack is a server's CONNACK. What MQTT 3 has no place for is left out there.
type Connack struct {
	Version        byte
	SessionPresent bool
	Code           Code
	Reason         string // "" with Success
	AssignedID     string
	Expiry         *uint32 // that is granted instead of the one asked for
	MaxPacket      uint32
	ReceiveMaximum uint16
}

// Encode returns the packet.
func (c Connack) Encode() []byte {
	content := []byte{0, byte(c.Code)}
	if c.SessionPresent {
		content[0] = 1
	}
	if c.Version != V5 {
		content[1] = returnCode(c.Code)
		return finish(byte(TypeConnack)<<4, content)
	}
	var p []byte
	if c.Expiry != nil {
		p = binary.BigEndian.AppendUint32(append(p, propSessionExpiry), *c.Expiry)
	}
	if c.Code == Success {
		p = binary.BigEndian.AppendUint16(append(p, propReceiveMaximum), c.ReceiveMaximum)
		p = binary.BigEndian.AppendUint32(append(p, propMaxPacket), c.MaxPacket)
		p = append(p, propSharedAvailable, 0)
	}
	if c.AssignedID != "" {
		p = appendText(append(p, propAssignedID), c.AssignedID)
	}
	if c.Reason != "" {
		p = appendText(append(p, propReasonString), c.Reason)
	}
	return finish(byte(TypeConnack)<<4, appendProperties(content, p))
}

// returnCode is a reason as MQTT 3 numbers it.
func returnCode(c Code) byte {
	switch c {
	case Success:
		return 0
	case UnsupportedVersion:
		return 1
	case BadClientID:
		return 2
	case BadLogin:
		return 4
	case NotAuthorized, BadAuthMethod:
		return 5
	}
	return 3
}

// AppendAck appends a PUBACK, PUBREC or PUBCOMP. Success is written as in MQTT 3.1.1,
// which 5 has too; other codes only 5 knows.
func AppendAck(b []byte, t Type, id uint16, code Code) []byte {
	if code == Success {
		return append(b, byte(t)<<4, 2, byte(id>>8), byte(id))
	}
	return append(b, byte(t)<<4, 3, byte(id>>8), byte(id), byte(code))
}

// Suback answers a SUBSCRIBE, with a code for each filter.
func Suback(version byte, id uint16, codes []Code) []byte {
	content := binary.BigEndian.AppendUint16(nil, id)
	if version == V5 {
		content = append(content, 0)
	}
	for _, c := range codes {
		if version != V5 && c >= 0x80 {
			c = 0x80
		}
		content = append(content, byte(c))
	}
	return finish(byte(TypeSuback)<<4, content)
}

// Unsuback answers an UNSUBSCRIBE; MQTT 3 has no place for codes.
func Unsuback(version byte, id uint16, codes []Code) []byte {
	content := binary.BigEndian.AppendUint16(nil, id)
	if version == V5 {
		content = append(content, 0)
		for _, c := range codes {
			content = append(content, byte(c))
		}
	}
	return finish(byte(TypeUnsuback)<<4, content)
}

// Pingresp answers a PINGREQ.
func Pingresp() []byte { return []byte{byte(TypePingresp) << 4, 0} }

// Disconnect tells an MQTT 5 client why it is cut.
func Disconnect(code Code) []byte { return finish(byte(TypeDisconnect)<<4, []byte{byte(code)}) }

// Message is a PUBLISH with QoS 0.
func Message(version byte, topic string, payload []byte) []byte {
	content := appendText(nil, topic)
	if version == V5 {
		content = append(content, 0)
	}
	return finish(byte(TypePublish)<<4, append(content, payload...))
}
