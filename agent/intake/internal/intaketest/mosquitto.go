package intaketest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Mosquitto is a real broker in a process of its own.
type Mosquitto struct {
	t    testing.TB
	conf string
	Port int
	cmd  *exec.Cmd
}

const mosquittoPath = "/usr/sbin/mosquitto"

// StartMosquitto starts one on a free port, with further lines of configuration.
// %d in a line is the port, %s the test's folder; without a listener among them
// there is a plain one.
func StartMosquitto(t testing.TB, lines ...string) *Mosquitto {
	t.Helper()
	if _, err := os.Stat(mosquittoPath); err != nil {
		t.Fatalf("the tests need mosquitto: apt-get install mosquitto mosquitto-clients (%v)", err)
	}
	m := &Mosquitto{t: t, Port: FreePort(t)}
	dir := t.TempDir()
	conf := "user root\npersistence true\npersistence_location " + dir + "/\nmax_inflight_messages 200\nmax_queued_messages 0\n"
	text := strings.Join(lines, "\n")
	if !strings.Contains(text, "listener") {
		conf += "listener " + strconv.Itoa(m.Port) + " 127.0.0.1\n"
	}
	if !strings.Contains(text, "password_file") {
		conf += "allow_anonymous true\n"
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "%d", strconv.Itoa(m.Port)), "%s", dir)
	m.conf = filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(m.conf, []byte(conf+text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(m.Kill)
	return m
}

// Addr is its URL.
func (m *Mosquitto) Addr() string { return fmt.Sprintf("tcp://127.0.0.1:%d", m.Port) }

// Start starts it, again after Kill or Stop.
func (m *Mosquitto) Start() {
	m.t.Helper()
	m.cmd = exec.Command(mosquittoPath, "-c", m.conf)
	out := &strings.Builder{}
	m.cmd.Stdout, m.cmd.Stderr = out, out
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("mosquitto said:\n%s", out)
		}
	})
	Eventually(m.t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.Port))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// Kill kills it.
func (m *Mosquitto) Kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// Stop lets it save what it keeps.
func (m *Mosquitto) Stop() {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	_ = m.cmd.Wait()
}

// Pub publishes with mosquitto_pub.
func (m *Mosquitto) Pub(args ...string) {
	m.t.Helper()
	MosquittoPub(m.t, m.Port, args...)
}

// MosquittoPub publishes with mosquitto_pub on a port of this machine.
func MosquittoPub(t testing.TB, port int, args ...string) {
	t.Helper()
	args = append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port)}, args...)
	if out, err := exec.Command("mosquitto_pub", args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %v: %v: %s", args, err, out)
	}
}

// Forget kills it, and what it has saved, and starts it again.
func (m *Mosquitto) Forget() {
	m.t.Helper()
	m.Kill()
	if err := os.Remove(filepath.Join(filepath.Dir(m.conf), "mosquitto.db")); err != nil {
		m.t.Fatal(err)
	}
	m.Start()
}

// FreePort is a port that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	return addr.Port
}

// Restart kills it and starts it again.
func (m *Mosquitto) Restart() {
	m.Kill()
	m.Start()
}
