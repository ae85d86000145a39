package broker

import (
	"cmp"
	"log/slog"
	"time"

	"scanrelay/agent/intake/user"
	"scanrelay/configs/wait"
)

// Config configures a Broker. What is zero has a default.
type Config struct {
	Users      user.List // none: nobody has to log in
	MaxPacket  int64     // bytes; default 256 KiB
	MaxClients int       // default 1000
	// MaxPerAddress bounds the clients of one address; default three quarters of
	// MaxClients: nobody can take all places.
	MaxPerAddress int
	Rate          float64 // events a second per client id; 0: unlimited
	// MaxWaiting bounds the bytes of all messages that wait for their commit;
	// default 32 MiB. One connection gets at most an eighth of it.
	MaxWaiting int64
	// Hold is how many publishes of one connection are held while there is no
	// room, and HoldFor how long; then it is closed. Defaults: 512, 30 s.
	Hold     int
	HoldFor  time.Duration
	Sessions string // the file that keeps sessions; "": they end with the process
	Logger   *slog.Logger
	Pulse    *wait.Pulse // of accepting connections; nil: nobody looks at it

	slow      time.Duration // a device that reads nothing for so long is cut; default 10 s
	connects  float64       // connections of one address a second in the long run; default 50
	strangers time.Duration // for so long after the start nobody knows how connections ended; default 2 min
}

// Limits of a Broker that no configuration changes.
const (
	connectWithin   = 10 * time.Second // from accept to CONNECT
	packetWithin    = time.Minute      // from a packet's header to its end,
	packetRate      = 1 << 10          // and a second more for so many bytes
	maxConnect      = 256 << 10        // bytes of a CONNECT
	readBuffer      = 4 << 10          // of a connection
	largePacket     = 16 << 10         // more than that is read as it comes, and bounded over all connections
	maxQueue        = 2048             // publishes of one connection that wait for their commit
	flushTime       = 2 * time.Second  // for acknowledgements before a stop
	goodbyeTime     = 250 * time.Millisecond
	lingerTime      = 500 * time.Millisecond // for what was written last to be read
	lingerBytes     = 1 << 20
	retryFullEvery  = 200 * time.Millisecond
	rebirthEvery    = 10 * time.Second // how often edge nodes to be asked are looked for
	maxCommands     = 16               // of our own that one connection may have to read
	slowRefusal     = time.Second
	maxSlowRefusals = 256
	halfOpenAllowed = 64   // connections beside MaxClients that have not logged in
	maxLimited      = 4096 // addresses and client ids whose rates are known
	newIDsPerSecond = 1    // client ids of one address in the long run that get a rate of their own

	newSessionsPerSecond = 0.1 // of one address in the long run: each has the file of sessions written
)

func (c *Config) setDefaults() {
	c.MaxPacket = cmp.Or(max(c.MaxPacket, 0), 256<<10)
	c.MaxClients = cmp.Or(max(c.MaxClients, 0), 1000)
	c.MaxPerAddress = cmp.Or(max(c.MaxPerAddress, 0), c.MaxClients-c.MaxClients/4)
	c.MaxWaiting = cmp.Or(max(c.MaxWaiting, 0), 32<<20)
	c.Hold = cmp.Or(max(c.Hold, 0), 512)
	c.HoldFor = cmp.Or(max(c.HoldFor, 0), 30*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.slow = cmp.Or(c.slow, 10*time.Second)
	c.connects = cmp.Or(c.connects, 50)
	c.strangers = cmp.Or(c.strangers, 2*time.Minute)
}
