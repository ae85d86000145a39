package intake

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
	"time"
)

// mosquitto is a real broker in a process of its own.
type mosquitto struct {
	t    testing.TB
	conf string
	port int
	cmd  *exec.Cmd
}

const mosquittoPath = "/usr/sbin/mosquitto"

// startMosquitto starts one on a free port, with further lines of configuration.
// %d in a line is the port, %s the test's folder; without a listener among them
// there is a plain one.
func startMosquitto(t testing.TB, lines ...string) *mosquitto {
	t.Helper()
	if _, err := os.Stat(mosquittoPath); err != nil {
		t.Fatalf("the tests need mosquitto: apt-get install mosquitto mosquitto-clients (%v)", err)
	}
	m := &mosquitto{t: t, port: freePort(t)}
	dir := t.TempDir()
	conf := "user root\npersistence true\npersistence_location " + dir + "/\nmax_inflight_messages 200\nmax_queued_messages 0\n"
	text := strings.Join(lines, "\n")
	if !strings.Contains(text, "listener") {
		conf += "listener " + strconv.Itoa(m.port) + " 127.0.0.1\n"
	}
	if !strings.Contains(text, "password_file") {
		conf += "allow_anonymous true\n"
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "%d", strconv.Itoa(m.port)), "%s", dir)
	m.conf = filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(m.conf, []byte(conf+text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) addr() string { return fmt.Sprintf("tcp://127.0.0.1:%d", m.port) }

func (m *mosquitto) start() {
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
	eventually(m.t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.port))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

func (m *mosquitto) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// stop lets it save what it keeps.
func (m *mosquitto) stop() {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	_ = m.cmd.Wait()
}

// pub publishes with mosquitto_pub.
func (m *mosquitto) pub(args ...string) {
	m.t.Helper()
	mosquittoPub(m.t, m.port, args...)
}

func mosquittoPub(t testing.TB, port int, args ...string) {
	t.Helper()
	args = append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port)}, args...)
	if out, err := exec.Command("mosquitto_pub", args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %v: %v: %s", args, err, out)
	}
}

func freePort(t testing.TB) int {
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

func (m *mosquitto) restart() {
	m.kill()
	time.Sleep(50 * time.Millisecond) // the port
	m.start()
}
