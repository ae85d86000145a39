package main

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// notifier tells systemd how a Type=notify service is doing (sd_notify(3)). It
// does nothing where no systemd asks.
type notifier struct {
	socket   string
	interval time.Duration // of WATCHDOG=1; 0: none wanted
	logger   *slog.Logger
}

func (a *app) notifier(logger *slog.Logger) *notifier {
	n := &notifier{logger: logger}
	for _, entry := range a.env {
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

// tell sends one state, as READY=1.
func (n *notifier) tell(state string) {
	if n.socket == "" {
		return
	}
	name := n.socket
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:] // the abstract namespace
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close() // a datagram has gone or not
	}
	if err != nil {
		n.logger.Warn("tell systemd", "state", state, "error", err)
	}
}

// watch keeps systemd's watchdog quiet while live says nil, until ctx is done.
func (n *notifier) watch(ctx context.Context, live func() error) {
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
			n.tell("WATCHDOG=1")
		}
	}
}
