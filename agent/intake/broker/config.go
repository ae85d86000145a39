package broker

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"time"

	"scanrelay/configs/secret"
)

// Config configures a Broker. What is zero has a default.
type Config struct {
	Users []User // none: nobody has to log in
	// TLS makes every connection a TLS one; nil: plain.
	TLS        *tls.Config
	MaxPacket  int64   // bytes; default 256 KiB
	MaxClients int     // default 1000
	Rate       float64 // events a second per client id; 0: unlimited
	// MaxWaiting bounds the bytes of all messages that wait for their commit;
	// default 32 MiB. One connection gets at most an eighth of it.
	MaxWaiting int64
	// Hold is how many publishes of one connection are held while there is no
	// room, and HoldFor how long; then it is closed. Defaults: 512, 30 s.
	Hold    int
	HoldFor time.Duration
	Logger  *slog.Logger

	slow     time.Duration // a device that reads nothing for so long is cut; default 10 s
	connects float64       // connections of one address a second in the long run; default 50
}

// User may log in at the embedded broker.
type User struct {
	Username string
	Password secret.Text
	Publish  []string // topic filters it may publish to; none: all
}

// Limits of a Broker that no configuration changes.
const (
	connectWithin   = 10 * time.Second // from accept to CONNECT
	maxSubscribed   = 64               // filters of one client
	maxQueue        = 2048             // publishes of one connection that wait for their commit
	sessionKept     = 600              // seconds that a session outlives its connection
	flushTime       = 2 * time.Second  // for acknowledgements before a stop
	retryFullEvery  = 200 * time.Millisecond
	rebirthEvery    = 10 * time.Second // how often edge nodes to be asked are looked for
	slowRefusal     = time.Second
	maxSlowRefusals = 256
	halfOpenAllowed = 64   // connections beside MaxClients that have not logged in
	maxLimited      = 4096 // addresses and client ids whose rates are known
)

func (c *Config) setDefaults() {
	c.MaxPacket = cmp.Or(max(c.MaxPacket, 0), 256<<10)
	c.MaxClients = cmp.Or(max(c.MaxClients, 0), 1000)
	c.MaxWaiting = cmp.Or(max(c.MaxWaiting, 0), 32<<20)
	c.Hold = cmp.Or(max(c.Hold, 0), 512)
	c.HoldFor = cmp.Or(max(c.HoldFor, 0), 30*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.slow = cmp.Or(c.slow, 10*time.Second)
	c.connects = cmp.Or(c.connects, 50)
}
