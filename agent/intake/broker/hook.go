package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"scanrelay/agent/intake"
)

// hook is where mochi-mqtt asks us.
type hook struct {
	mochi.HookBase
	b *Broker
}

// ID implements mochi.Hook.
func (h *hook) ID() string { return "intake" }

// Provides implements mochi.Hook.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSessionEstablish,
		mochi.OnPacketRead, mochi.OnPublish, mochi.OnDisconnect:
		return true
	}
	return false
}

// OnConnect refuses connections while there is no room. mochi answers nothing
// itself here.
func (h *hook) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	if !h.b.refusing() {
		return nil
	}
	h.b.refused.Add(1)
	h.b.warns.warn(hostOf(cl.Net.Remote), "mqtt connection refused: no room for scans", "remote", cl.Net.Remote)
	code := packets.Err3ServerUnavailable
	if cl.Properties.ProtocolVersion >= 5 {
		code = packets.ErrServerUnavailable
	}
	err := cl.WritePacket(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connack}, ReasonCode: code.Code,
	})
	return errors.Join(code, err)
}

// OnConnectAuthenticate checks name and password; without users anybody may
// come in.
func (h *hook) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	users := *h.b.users.Load()
	if len(users) == 0 {
		return true
	}
	u, known := users[string(cl.Properties.Username)]
	sum := sha256.Sum256(pk.Connect.Password)
	if subtle.ConstantTimeCompare(sum[:], u.password[:]) == 1 && known {
		return true
	}
	h.b.refused.Add(1)
	h.b.warns.warn(hostOf(cl.Net.Remote), "mqtt connection refused: wrong user or password", "remote", cl.Net.Remote, "user", string(cl.Properties.Username))
	return false
}

// OnSessionEstablish drops the client's will, which nobody would hear, and finds
// its rate, which it does not lose by connecting again.
func (h *hook) OnSessionEstablish(cl *mochi.Client, _ packets.Packet) {
	cl.Properties.Will = mochi.Will{}
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return
	}
	c.who = strings.ToValidUTF8(cl.ID[:min(len(cl.ID), 64)], "")
	if h.b.rates != nil {
		c.limit = h.b.rates.Of(c.who)
	}
}

// OnACLCheck says who may publish and subscribe where.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if !write {
		return cl.State.Subscriptions.Len() < maxSubscribed && !strings.HasPrefix(topic, "$")
	}
	users := *h.b.users.Load()
	u, known := users[string(cl.Properties.Username)]
	if len(users) == 0 || known && len(u.publish) == 0 {
		return true
	}
	topic = unmarked(topic)
	levels := strings.Split(topic, "/")
	for _, f := range u.publish {
		if f.Match(levels) {
			return true
		}
	}
	h.b.denied.Add(1)
	h.b.warns.warn(string(cl.Properties.Username), "mqtt publish without permission", "user", string(cl.Properties.Username), "topic", topic)
	return false
}

// mochi drops publishes to some topics that begin with $ ($SYS, $share) in
// silence, so that the device would wait for its acknowledgement for ever. While
// mochi looks at them such topics wear a mark that no topic can have.
const dollarMark = "$\x00"

// OnPacketRead marks topics that begin with $.
func (h *hook) OnPacketRead(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if rest, ok := strings.CutPrefix(pk.TopicName, "$"); ok && pk.FixedHeader.Type == packets.Publish {
		pk.TopicName = dollarMark + rest
	}
	return pk, nil
}

// unmarked is the topic as the device sent it.
func unmarked(topic string) string {
	if rest, ok := strings.CutPrefix(topic, dollarMark); ok {
		return "$" + rest
	}
	return topic
}

// OnPublish takes one publish. With QoS 1 it returns at once and the queue
// acknowledges after the commit; with QoS 2 it waits for the commit, and mochi
// goes on with PUBREC.
func (h *hook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok || h.b.stopping.Load() {
		return pk, packets.ErrRejectPacket
	}
	if pk.FixedHeader.Dup {
		h.b.redelivered.Add(1)
	}
	pk.TopicName = unmarked(pk.TopicName)
	batch := h.b.pipe.Take(intake.Message{Topic: pk.TopicName, Payload: pk.Payload, DUP: pk.FixedHeader.Dup})
	c.slowDown(len(batch.Events))
	e := &entry{topic: pk.TopicName, qos: pk.FixedHeader.Qos, batch: batch, cost: intake.Cost(pk.Payload, batch)}
	switch e.qos {
	case 0:
		h.b.qos0.Add(1)
		if c.queue.push(e, false) != nil {
			h.b.lost.Add(1)
			return pk, packets.ErrRejectPacket
		}
		return pk, packets.CodeSuccessIgnore
	case 2:
		e.wait = make(chan error, 1)
	}
	e.id = pk.PacketID
	if c.queue.push(e, pk.FixedHeader.Dup) != nil || e.qos == 1 {
		return pk, packets.ErrRejectPacket
	}
	select {
	case err := <-e.wait:
		if err == nil {
			return pk, packets.CodeSuccessIgnore
		}
	case <-c.queue.gone:
	}
	return pk, packets.ErrRejectPacket
}

// slowDown lets the connection's reader wait while the device is above its rate,
// as long as the connection is there.
func (c *conn) slowDown(events int) {
	if c.limit == nil {
		return
	}
	for n := max(1, events); n > 0; {
		step := min(n, c.limit.Burst())
		if delay := c.limit.ReserveN(time.Now(), step).Delay(); delay > 0 {
			c.b.warns.warn(c.who, "mqtt client is above its rate and is slowed down", "client", c.who, "remote", c.raw.RemoteAddr().String())
			if !c.sleep(delay) {
				return
			}
		}
		n -= step
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

// OnDisconnect forgets the session of a client that only publishes: there is
// nothing in it.
func (h *hook) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	if expire || cl.IsTakenOver() || cl.State.Subscriptions.Len() > 0 || cl.State.Inflight.Len() > 0 {
		return
	}
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	if now, ok := h.b.server.Clients.Get(cl.ID); ok && now == cl {
		h.b.server.Clients.Delete(cl.ID)
	}
}
