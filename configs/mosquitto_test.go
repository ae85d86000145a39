package configs

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, however slow the machine.
const patience = 5 * time.Minute

// awaitSaved waits until a file holds a message.
func awaitSaved(t *testing.T, file, message string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		saved, err := os.ReadFile(file)
		if err == nil && bytes.Contains(saved, []byte(message)) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not hold %q (%v)", file, message, err)
		}
	}
}

// program finds what `make setup` installs.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("%s is not installed; make setup installs it", name)
	return ""
}

// mosquitto runs a broker with a configuration and returns what kills it.
func mosquitto(t *testing.T, conf, addr string) (kill func()) {
	t.Helper()
	cmd := exec.Command(program(t, "mosquitto"), "-c", conf)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill() // SIGKILL; it may have ended
			_ = cmd.Wait()         // it was killed
		}
	}
	t.Cleanup(kill)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return kill
		}
		if time.Now().After(end) {
			kill()
			t.Fatalf("mosquitto does not start: %v\n%s", err, out.String())
		}
	}
}

// The shipped mosquitto.conf is one that mosquitto takes, and with it scans that
// were acknowledged while the agent was away are there after a kill -9.
func TestMosquittoKeepsWhatItAcknowledged(t *testing.T) {
	text, err := os.ReadFile("mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	port := fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
	_ = ln.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "mosquitto.conf")
	changed := strings.NewReplacer("listener 1883 ", "listener "+port+" ", "/var/lib/mosquitto/", dir+"/").Replace(string(text)) + "\nuser root\n"
	if err := os.WriteFile(conf, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	kill := mosquitto(t, conf, addr)
	client := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(program(t, name), append([]string{"-h", "127.0.0.1", "-p", port, "-q", "1", "-t", "scans/a"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	const scans = 30
	client("mosquitto_sub", "-i", "agent", "-c", "-E") // subscribes, and goes away
	for i := range scans {
		client("mosquitto_pub", "-m", fmt.Sprintf("scan %02d", i))
	}
	// What the comment in mosquitto.conf concedes: it must have been saved.
	awaitSaved(t, filepath.Join(dir, "mosquitto.db"), fmt.Sprintf("scan %02d", scans-1))
	kill()
	mosquitto(t, conf, addr)
	got := strings.Fields(strings.ReplaceAll(client("mosquitto_sub", "-i", "agent", "-c", "-C", fmt.Sprint(scans), "-W", "300"), "scan ", ""))
	for i := range scans {
		if i >= len(got) || got[i] != fmt.Sprintf("%02d", i) {
			t.Fatalf("after the kill the agent got %v, want %d scans in order", got, scans)
		}
	}
}
