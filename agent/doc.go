// Package agent is the depot agent: it puts the parts together, starts them and
// stops them in order.
//
//	scanner ─MQTT─► intake ─► store ◄─► uplink ─► the centre and WeChat
//	                            ▲
//	                         control ◄─ status, events, trace, deadletter, HTTP
//
// It owns the assembly, the conversion of package configs' structs into those of
// the parts (convert.go), the order of a stop, the health of the whole, and the
// moment in which events that were stored under an unbelievable clock get their
// times. It must never open a listener or catch a signal (main does), and never
// decide anything about an event.
//
// # Stop
//
// The context of Run ends, then within ten seconds in all: intake (what is on disk
// is acknowledged, nothing more is taken) and beside it the relays (what is in
// flight is finished or abandoned, the leases go back), the servers, the store. A part that does not end within its
// share is left behind with a line in the log: what counts is on disk. A second
// signal (Options.Abort) takes all shares away.
//
// # Watchdog
//
// systemd is told that the agent is alive only while intake, its connection (the broker's
// accepting, the client's session), the committer, both relays and the calls of
// WeChat move: whoever has been in one step for a minute is
// named in the log, and ended by the watchdog a minute later. A store that is full,
// a centre or a WeChat that is away hold no step up.
//
// A store that could not be synced to disk (store.ErrFailed) ends Run with that
// error: the process must exit 1, the next start looks at what is there.
package agent
