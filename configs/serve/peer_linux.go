package serve

import (
	"net"
	"strconv"
	"syscall"
)

// peerName names the user at the other end of a unix socket.
func peerName(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return "unknown"
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "unknown"
	}
	name := "unknown"
	_ = raw.Control(func(fd uintptr) { // a closed one stays unknown
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			name = "uid " + strconv.Itoa(int(cred.Uid))
		}
	})
	return name
}
