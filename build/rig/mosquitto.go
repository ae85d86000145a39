package rig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// Mosquitto is a real broker with a configuration that keeps what it accepted
// as long as it runs: no bound on what waits for a subscriber that is away.
type Mosquitto struct {
	*Role
	Addr string
}

// NewMosquitto makes a broker; nothing runs yet.
func NewMosquitto(t T) *Mosquitto {
	t.Helper()
	path, err := findMosquitto()
	if err != nil {
		t.Fatalf("%v", err)
	}
	dir, addr := t.TempDir(), FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr) // FreeAddr made it
	file := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf(`listener %s 127.0.0.1
allow_anonymous true
persistence true
persistence_location %s/
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 200
log_dest stderr
log_type error
log_type warning
`, port, dir)
	if os.Geteuid() == 0 {
		text += "user root\n" // else it becomes a user who may not write into dir
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatalf("write configuration of mosquitto: %v", err)
	}
	return &Mosquitto{Role: NewRole(t, "mosquitto", []string{path, "-c", file}), Addr: addr}
}

// Start starts it and waits until it takes connections.
func (m *Mosquitto) Start() {
	m.t.Helper()
	m.Role.Start()
	awaitListening(m.t, m.Role, m.Addr)
}

func findMosquitto() (string, error) {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("mosquitto is not installed: run make setup")
}

// awaitListening waits until somebody takes connections at addr.
func awaitListening(t T, r *Role, addr string) {
	t.Helper()
	Await(t, r.Name+" to listen on "+addr, func() (bool, string) {
		if !r.running() {
			t.Fatalf("%s ended instead of listening: %v\n%s", r.Name, r.ended(), tail(r.Log(), 20))
		}
		c, err := net.DialTimeout("tcp", addr, Limit)
		if err != nil {
			return false, err.Error()
		}
		return c.Close() == nil, "open"
	})
}
