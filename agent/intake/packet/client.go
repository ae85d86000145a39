package packet

import "strings"

// Connect is a client's CONNECT. Its will is read over: nobody would hear it.
type Connect struct {
	Version      byte
	Clean        bool // begin without what was before
	KeepAlive    uint16
	ClientID     string
	Username     string
	Password     []byte
	Expiry       uint32 // seconds that the session outlives its connection; NoExpiry: for ever
	MaxPacket    uint32 // that the client takes; 0: any
	ExtendedAuth bool
}

// NoExpiry as a session's expiry means that it has none.
const NoExpiry = 1<<32 - 1

// ReadConnect reads a CONNECT. Of a version that is not known only that is told, by
// an Error with UnsupportedVersion.
func ReadConnect(content []byte) (c Connect, err error) {
	b := body{rest: content}
	name := b.text()
	c.Version = b.uint8()
	switch {
	case b.err != nil:
		return c, b.err
	case name != "MQTT" && name != "MQIsdp":
		return c, violation("it is no MQTT")
	case name == "MQTT" && c.Version != V311 && c.Version != V5, name == "MQIsdp" && c.Version != V31:
		return c, &Error{UnsupportedVersion, "a version of MQTT that is not spoken here"}
	}
	flags := b.uint8()
	c.Clean = flags&2 != 0
	will, willQoS := flags&4 != 0, flags>>3&3
	switch {
	case flags&1 != 0:
		return c, malformed("the reserved flag is set")
	case willQoS == 3, !will && flags&0x38 != 0:
		return c, malformed("flags of a will %#x", flags)
	}
	c.KeepAlive = b.uint16()
	if c.Version == V5 {
		p := b.properties("\x11\x21\x27\x22\x19\x17\x26\x15\x16")
		c.Expiry, c.MaxPacket = p[propSessionExpiry], p[propMaxPacket]
		_, c.ExtendedAuth = p.get(propAuthMethod)
	} else if !c.Clean {
		c.Expiry = NoExpiry
	}
	c.ClientID = b.text()
	if will {
		if c.Version == V5 {
			b.properties("\x18\x01\x02\x03\x08\x09\x26")
		}
		b.text()
		b.bytes()
	}
	if flags&0x80 != 0 {
		c.Username = b.text()
	}
	if flags&0x40 != 0 {
		c.Password = b.bytes()
	}
	return c, b.end()
}

// Publish is a client's PUBLISH. Its payload is a part of what it was read from.
type Publish struct {
	Dup, Retain bool
	QoS         byte
	ID          uint16 // 0 with QoS 0
	Topic       string
	Payload     []byte
}

// ReadPublish reads a PUBLISH.
func ReadPublish(version, flags byte, content []byte) (p Publish, err error) {
	b := body{rest: content}
	p.Dup, p.QoS, p.Retain = flags&8 != 0, flags>>1&3, flags&1 != 0
	p.Topic = b.text()
	if p.QoS > 0 {
		p.ID = b.id()
	}
	if version == V5 {
		if _, alias := b.properties("\x01\x02\x23\x08\x09\x26\x03").get(propTopicAlias); alias {
			b.fail(&Error{topicAliasInvalid, "a topic alias, of which none was allowed"})
		}
	}
	switch {
	case b.err != nil:
	case p.Topic == "":
		b.fail(malformed("a publish without a topic"))
	case strings.ContainsAny(p.Topic, "+#"):
		b.fail(&Error{BadTopic, "a topic with a wildcard"})
	}
	p.Payload = b.rest
	return p, b.err
}

// ReadPubrel reads a PUBREL's packet id.
func ReadPubrel(version byte, content []byte) (id uint16, err error) {
	b := body{rest: content}
	id = b.id()
	if version == V5 && len(b.rest) > 0 {
		b.uint8()
		if len(b.rest) > 0 {
			b.properties("\x1f\x26")
		}
	}
	return id, b.end()
}

// Subscribe is a client's SUBSCRIBE or UNSUBSCRIBE.
type Subscribe struct {
	ID      uint16
	Filters []string
	QoS     []byte // asked for, of a SUBSCRIBE
}

// ReadSubscribe reads a SUBSCRIBE.
func ReadSubscribe(version byte, content []byte) (Subscribe, error) {
	return readFilters(version, content, "\x0b\x26", true)
}

// ReadUnsubscribe reads an UNSUBSCRIBE.
func ReadUnsubscribe(version byte, content []byte) (Subscribe, error) {
	return readFilters(version, content, "\x26", false)
}

func readFilters(version byte, content []byte, allowed string, qos bool) (s Subscribe, err error) {
	b := body{rest: content}
	s.ID = b.id()
	if version == V5 {
		b.properties(allowed)
	}
	for len(b.rest) > 0 {
		s.Filters = append(s.Filters, b.text())
		if !qos {
			continue
		}
		options := b.uint8()
		if version == V5 {
			options &= 3 // what else it says is about messages that nobody gets
		}
		if options > 2 {
			b.fail(malformed("QoS %d", options))
		}
		s.QoS = append(s.QoS, options)
	}
	if b.err == nil && len(s.Filters) == 0 {
		b.fail(violation("no topic filter"))
	}
	return s, b.end()
}

// ReadDisconnect reads a DISCONNECT. changes tells that the session lasts longer, or
// less long, than was asked for before.
func ReadDisconnect(version byte, content []byte) (expiry uint32, changes bool, err error) {
	b := body{rest: content}
	if version == V5 && len(b.rest) > 0 {
		b.uint8()
		if len(b.rest) > 0 {
			expiry, changes = b.properties("\x11\x1f\x26\x1c").get(propSessionExpiry)
		}
	}
	return expiry, changes, b.end()
}
