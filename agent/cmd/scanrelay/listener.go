package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// listen opens a TCP listener; key is the configuration's, for the message.
func listen(key, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is taken by another program (or another scanrelay)", key, addr)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: no permission to listen on %s: ports below 1024 need a privilege", key, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine has no address %s", key, addr)
	}
	return nil, fmt.Errorf("%s: listen on %s: %w", key, addr, err)
}
