//go:build !linux

package link

import "syscall"

// userTimeout has nothing to set here; keepalive and the watchdog remain.
func userTimeout(_, _ string, _ syscall.RawConn) error { return nil }
