package link

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout lets the kernel give up on a link on which sent data is not
// acknowledged for 20 s.
func userTimeout(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 20_000)
	}); e != nil {
		return e
	}
	return err
}
