package serve

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Notifier tells systemd how a Type=notify service is doing (sd_notify(3)). It
// does nothing where no systemd asks.
type Notifier struct {
	socket   string
	interval time.Duration // of WATCHDOG=1; 0: none wanted
	logger   *slog.Logger
}

// NewNotifier finds in the environment what systemd asks for.
func NewNotifier(env []string, logger *slog.Logger) *Notifier {
	n := &Notifier{logger: logger}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "NOTIFY_SOCKET":
			n.socket = value
		case "WATCHDOG_USEC":
			if usec, err := strconv.ParseInt(value, 10, 64); err == nil && usec > 0 {
				n.interval = time.Duration(usec) * time.Microsecond / 2
			}
		}
	}
	return n
}

// Accompany tells systemd that the service is ready, alive and, once ctx ends,
// stopping, until end is called. live says why it is not alive; nil if it is.
func (n *Notifier) Accompany(ctx context.Context, ready <-chan struct{}, live func() error) (end func()) {
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	var side sync.WaitGroup
	side.Go(func() {
		select {
		case <-ready:
			n.Tell("READY=1")
			n.watch(watch, live)
		case <-watch.Done():
		}
	})
	side.Go(func() {
		select {
		case <-ctx.Done():
			n.Tell("STOPPING=1")
		case <-watch.Done():
		}
	})
	return func() { stop(); side.Wait() }
}

// tellFor is how long systemd may take to take a state.
const tellFor = time.Second

// Tell sends one state, as READY=1.
func (n *Notifier) Tell(state string) {
	if n.socket == "" {
		return
	}
	name := n.socket
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:] // the abstract namespace
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(tellFor)) // it has one
		_, err = conn.Write([]byte(state))
		_ = conn.Close() // a datagram has gone or not
	}
	if err != nil {
		n.logger.Warn("tell systemd", "state", state, "error", err)
	}
}

// watch keeps systemd's watchdog quiet while live says nil, until ctx is done.
func (n *Notifier) watch(ctx context.Context, live func() error) {
	if n.socket == "" || n.interval == 0 {
		return
	}
	tick := time.NewTicker(n.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := live(); err != nil {
				n.logger.Error("watchdog withheld", "error", err)
				continue
			}
			n.Tell("WATCHDOG=1")
		}
	}
}
