package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/packet"
	"scanrelay/agent/intake/user"
)

// maxClientID and maxUser bound what the session of a client takes, in memory and in the
// file that is written again with each new one.
const (
	maxClientID = 1024
	maxUser     = 1024
)

// resendsWithin is how long after a reconnect an identical message is one that comes
// again, whether it says so (DUP) or not: several libraries do not.
const resendsWithin = 10 * time.Second

// login reads the CONNECT and answers it. Until then the connection has little time.
func (c *conn) login() error {
	h, content, err := c.read()
	if err != nil {
		return err
	}
	if h.Type != packet.TypeConnect {
		return &packet.Error{Code: packet.ProtocolError, Text: "protocol error: the first packet is no CONNECT"}
	}
	in, err := packet.ReadConnect(content)
	c.version = in.Version
	var wrong *packet.Error
	if errors.As(err, &wrong) && wrong.Code == packet.UnsupportedVersion {
		c.version = packet.V311 // a bridge of mosquitto tries its own first
		return c.refuse(wrong.Code, wrong.Text)
	}
	if err != nil {
		return err
	}
	return c.welcome(&in)
}

// welcome gives a client its session, or says why not.
func (c *conn) welcome(in *packet.Connect) error {
	c.v5.Store(in.Version == packet.V5)
	c.maxPacket, c.user = in.MaxPacket, in.Username
	c.who = clip(in.ClientID)
	assigned := ""
	switch {
	case c.b.refusing():
		return c.refuse(packet.Unavailable, "no room for scans")
	case in.ExtendedAuth:
		return c.refuse(packet.BadAuthMethod, "extended authentication is not known here")
	case len(in.ClientID) > maxClientID, in.ClientID == "" && (in.Version == packet.V31 || in.Version == packet.V311 && !in.Clean):
		return c.refuse(packet.BadClientID, "a client id that is empty or too long")
	case len(in.Username) > maxUser:
		c.user = clip(in.Username)
		return c.refuse(packet.BadLogin, "a user name that is too long")
	case in.ClientID == "":
		assigned = "auto-" + rand.Text()
		in.ClientID, in.Expiry = assigned, 0
	}
	if code, why := c.b.authenticate(c.host, in.Username, in.Password); code != packet.Success {
		return c.refuse(code, why)
	}
	lasts, now := min(time.Duration(in.Expiry)*time.Second, maxSessionLasts), time.Now()
	if lasts > 0 && !c.b.sessions.lasting(in.ClientID) && !c.b.newOnes.Of(c.host).Allow() {
		lasts = 0
		c.b.warns.Warn(c.host, "mqtt session is not kept: its address comes under ever new client ids", "client", c.who, "remote", c.remote)
	}
	if why := c.a.seat(c, in.ClientID); why != "" {
		return c.refuse(packet.Busy, why)
	}
	o, ok := c.b.sessions.open(c, in, lasts, now)
	if !ok {
		return c.refuse(packet.BadClientID, "the client id belongs to another user, until an hour after its last connection")
	}
	c.session = o.session
	if o.before != nil {
		c.b.takeovers.Add(1)
		c.a.giveUp(o.before)
		o.before.hangUp(packet.TakenOver, nil)
	}
	if o.often {
		c.b.warns.Warn(c.who, "mqtt client id is used by two devices at once, which throw each other out: give each its own",
			"client", c.who, "remote", c.remote, "other", o.before.remote)
	}
	if assigned == "" && (o.broke || !o.known && now.Sub(c.b.began) < c.b.cfg.strangers) {
		c.resendsUntil = now.Add(resendsWithin)
	}
	c.limit, c.client = c.b.rateOf(c.host, in.ClientID), intake.ClientOf(c.host, in.ClientID)
	c.keepAlive = time.Duration(in.KeepAlive) * time.Second * 3 / 2
	c.b.sessions.file.await(c.b.ctx, o.change)
	ack := packet.Connack{
		Version: c.version, SessionPresent: o.present, AssignedID: assigned,
		MaxPacket: uint32(c.b.cfg.MaxPacket), ReceiveMaximum: uint16(min(c.b.cfg.Hold, 1<<16-1)),
	}
	if granted := uint32(lasts / time.Second); granted != in.Expiry {
		ack.Expiry = &granted
	}
	return c.write(ack.Encode())
}

// clip is what a client says as it may stand in the log.
func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), 64)], "") }

// refuse answers a CONNECT with a refusal, which is counted and logged.
func (c *conn) refuse(code packet.Code, why string) error {
	c.b.warns.Warn(c.host, "mqtt connection refused: "+why, "remote", c.remote, "client", c.who, "user", c.user)
	c.b.refused.Add(1)
	err := c.write(packet.Connack{Version: c.version, Code: code, Reason: why}.Encode())
	return errors.Join(fmt.Errorf("refused: %s", why), err)
}

// authenticate checks name and password; without users anybody may come in.
func (b *Broker) authenticate(host, name string, password []byte) (packet.Code, string) {
	users := *b.users.Load()
	if len(users) == 0 {
		return packet.Success, ""
	}
	sum := user.Sum(password)
	who := host + "\x00" + name
	if !users.Has(name) {
		who = host // names are guessed too
	}
	if !b.guesses.may(who, sum, time.Now()) {
		return packet.BadLogin, "too many wrong passwords"
	}
	if users.Accepts(name, sum) {
		return packet.Success, ""
	}
	b.guesses.wrong(who, sum, time.Now())
	return packet.BadLogin, "wrong user or password"
}
