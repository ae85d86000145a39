package broker

import (
	"strings"
	"time"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/packet"
	"scanrelay/agent/intake/topic"
)

// serve lets a client in and takes what it sends until the connection ends.
func (c *conn) serve() error {
	if err := c.login(); err != nil {
		return err
	}
	for {
		if err := c.SetReadDeadline(c.silentUntil()); err != nil || c.cut.Load() {
			return err
		}
		h, content, err := c.read()
		if err != nil {
			return err
		}
		if err := c.handle(h, content); err != nil || c.ended {
			return err
		}
		c.done()
	}
}

// silentUntil is when a client that sends nothing is taken for gone.
func (c *conn) silentUntil() time.Time {
	if c.keepAlive == 0 {
		return time.Time{}
	}
	return time.Now().Add(c.keepAlive)
}

// handle takes one packet.
func (c *conn) handle(h packet.Header, content []byte) error {
	switch h.Type {
	case packet.TypePublish:
		p, err := packet.ReadPublish(c.version, h.Flags, content)
		if err != nil {
			return err
		}
		return c.publish(&p)
	case packet.TypePubrel:
		id, err := packet.ReadPubrel(c.version, content)
		if err != nil {
			return err
		}
		if !c.session.release(id) {
			return &packet.Error{Code: packet.ProtocolError, Text: "protocol error: PUBREL for a publish that has no PUBREC"}
		}
		return c.write(packet.AppendAck(nil, packet.TypePubcomp, id, packet.Success))
	case packet.TypeSubscribe:
		return c.subscribe(content)
	case packet.TypeUnsubscribe:
		return c.unsubscribe(content)
	case packet.TypePingreq:
		return c.write(packet.Pingresp())
	case packet.TypeDisconnect:
		return c.disconnect(content)
	case packet.TypePuback, packet.TypePubrec, packet.TypePubcomp:
		return nil // for what we send nobody owes us one
	}
	return &packet.Error{Code: packet.ProtocolError, Text: "protocol error: a packet that no client sends here"}
}

func (c *conn) disconnect(content []byte) error {
	expiry, changes, err := packet.ReadDisconnect(c.version, content)
	if err != nil {
		return err
	}
	if changes {
		c.b.sessions.setLasts(c, min(time.Duration(expiry)*time.Second, maxSessionLasts))
	}
	c.ended = true
	return nil
}

// publish takes one publish. It returns at once; the queue acknowledges it after the
// commit.
func (c *conn) publish(p *packet.Publish) error {
	if c.b.stopping.Load() {
		return nil
	}
	if p.Dup {
		c.b.redelivered.Add(1)
	}
	if !c.b.users.Load().MayPublish(c.user, p.Topic) {
		return c.deny(p)
	}
	e := &entry{topic: p.Topic, id: p.ID, qos: p.QoS}
	again := p.Dup || p.QoS > 0 && time.Now().Before(c.resendsUntil)
	switch p.QoS {
	case 0:
		c.b.qos0.Add(1)
	case 1:
		c.session.forget(p.ID) // a device that counts anew
	case 2:
		var came bool
		if e.received, came = c.session.receive(p, c.queue); came {
			if e.received.safe.Load() {
				return c.write(packet.AppendAck(nil, packet.TypePubrec, p.ID, packet.Success))
			}
			if !c.session.moved(e.received, c.queue) {
				return nil // the PUBREC to come is for this one too
			}
			again = true
		}
	}
	err := errGone
	if c.slowDown() {
		err = c.queue.push(e, p.Dup, func() {
			e.batch = c.b.pipe.Take(intake.Message{Topic: p.Topic, Payload: p.Payload, DUP: p.Dup})
			e.batch.Redelivered = e.batch.Redelivered || again
			e.batch.Client, e.batch.Shared = c.client, true
			e.cost = intake.Cost(p.Topic, p.Payload, e.batch)
			c.owe(max(1, len(e.batch.Events)))
		})
	}
	if err != nil && p.QoS == 0 {
		c.b.lost.Add(1)
	}
	return nil // a connection that was hung up ends with the next read
}

// deny answers a publish without permission. MQTT 3 knows no refusal of a publish.
func (c *conn) deny(p *packet.Publish) error {
	c.b.warns.Warn(c.user, "mqtt publish without permission", "user", c.user, "topic", clip(p.Topic))
	c.b.denied.Add(1)
	switch {
	case p.QoS == 0:
		return nil
	case c.version == packet.V5:
		return c.queue.push(&entry{id: p.ID, qos: p.QoS, code: packet.NotAuthorized, state: entryDone}, false, nil)
	}
	return errDenied
}

// slowDown lets the connection's reader wait while the device is above its rate. False:
// the connection ended meanwhile.
func (c *conn) slowDown() bool {
	if c.limit == nil {
		return true
	}
	delay := c.limit.ReserveN(time.Now(), 0).Delay()
	if delay <= 0 {
		return true
	}
	c.b.warns.Warn(c.who, "mqtt client is above its rate and is slowed down", "client", c.who, "remote", c.remote)
	return c.sleep(delay)
}

// owe counts events. What is above the rate has the next publish wait: this one need not
// be in memory for so long.
func (c *conn) owe(events int) {
	for c.limit != nil && events > 0 {
		step := min(events, c.limit.Burst())
		c.limit.ReserveN(time.Now(), step)
		events -= step
	}
}

// sleep reports false when the connection ended meanwhile.
func (c *conn) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.queue.gone:
	case <-c.b.ctx.Done():
	}
	return false
}

// subscribe grants what a Sparkplug edge node needs: our own requests to be born
// again are all that anybody hears here. Whoever asks for more is told that it gets
// nothing, rather than waiting for it.
func (c *conn) subscribe(content []byte) error {
	s, err := packet.ReadSubscribe(c.version, content)
	if err != nil {
		return err
	}
	codes := make([]packet.Code, len(s.Filters))
	for i, filter := range s.Filters {
		switch first, _, _ := strings.Cut(filter, "/"); {
		case bad(filter):
			codes[i] = packet.BadFilter
		case first != "spBv1.0" && first != "STATE":
			codes[i] = packet.NotAuthorized
			c.b.warns.Warn(c.who, "mqtt subscription refused: nothing is forwarded here", "client", c.who, "remote", c.remote, "filter", clip(filter))
		case !c.b.sessions.subscribe(c.session, filter):
			codes[i] = packet.QuotaExceeded
		default:
			codes[i] = packet.Code(s.QoS[i]) // what comes has QoS 0
		}
	}
	return c.write(packet.Suback(c.version, s.ID, codes))
}

func bad(filter string) bool {
	_, err := topic.Parse(filter)
	return err != nil
}

func (c *conn) unsubscribe(content []byte) error {
	s, err := packet.ReadUnsubscribe(c.version, content)
	if err != nil {
		return err
	}
	codes := make([]packet.Code, len(s.Filters))
	for i, filter := range s.Filters {
		if !c.b.sessions.unsubscribe(c.session, filter) {
			codes[i] = packet.NoSubscription
		}
	}
	return c.write(packet.Unsuback(c.version, s.ID, codes))
}
