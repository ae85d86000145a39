package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// SocketName is the control socket's name in the data folder.
const SocketName = "control.sock"

// maxPath is the longest path of a unix socket on Linux, in bytes.
const maxPath = 107

// Sentinels of the socket.
var (
	// ErrNotRunning: no agent answers at the socket.
	ErrNotRunning = errors.New("the agent is not running")
	// ErrRunning: another agent answers at the socket.
	ErrRunning = errors.New("another agent is running on this data folder")
)

// SocketPath returns the control socket of a data folder; an error if no socket
// can have that path.
func SocketPath(dataDir string) (string, error) {
	path := filepath.Join(dataDir, SocketName)
	if len(path) > maxPath {
		return "", fmt.Errorf("%s: a socket's path has at most %d bytes, this one would have %d; choose a shorter data_dir", path, maxPath, len(path))
	}
	return path, nil
}

// Listen opens the control socket of a data folder with mode 0660. A socket
// that a killed agent left is replaced; one that answers is ErrRunning. Call it
// only while holding the data folder's lock.
func Listen(dataDir string) (net.Listener, error) {
	path, err := SocketPath(dataDir)
	if err != nil {
		return nil, err
	}
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
		return fmt.Errorf("%s: %w", filepath.Dir(path), ErrRunning)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("open control socket: %w", err)
	}
	return os.Remove(path)
}
