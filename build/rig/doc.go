// Package rig sets scanrelay up as it stands in a depot and a centre: the built
// binary as processes of its own, a real mosquitto, scanners over MQTT, and a
// fake WeChat in the process of the test as everything outside. It can kill,
// stop, starve and restart each of them, have strace spoil the system calls of one
// that runs, and it keeps a ledger of what was acknowledged to the scanners, to
// hold against what the agent says became of it and what WeChat was told.
//
// The end-to-end tests and the benchmark stand on it. It knows scanrelay from
// outside only: commands, configuration, HTTP and MQTT. It must never look into
// a data folder or call the program's own packages to learn what happened, and
// it waits for conditions with a deadline, never for time to pass.
package rig
