package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"scanrelay/agent/control"
)

// ownedByUs refuses to run as root on a folder of a service's user, whom the files
// that root makes would lock out.
func ownedByUs(dataDir string, euid int) error {
	info, err := os.Stat(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && euid == 0 && st.Uid != 0 {
		name := strconv.Itoa(int(st.Uid))
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		return fmt.Errorf("data_dir %s belongs to user %s, whom files made by root would lock out: start the service, or run this as %[2]s (runuser -u %[2]s -- scanrelay …)", dataDir, name)
	}
	return nil
}

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

// errRunning: another agent answers at the socket.
var errRunning = errors.New("another agent is running on this data folder")

// listenControl opens the control socket of a data folder with mode 0660. A
// socket that a killed agent left is replaced; one that answers is errRunning.
// Call it only while holding the data folder's lock.
func listenControl(dataDir string) (net.Listener, error) {
	path, err := control.SocketPath(dataDir)
	if err != nil {
		return nil, err
	}
	return listenSocket(path)
}

func listenSocket(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return ln, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("open control socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("open control socket: %s is in the way and no socket; move it", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("%s: %w", filepath.Dir(path), errRunning)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("open control socket: %w", err)
	}
	return os.Remove(path)
}
