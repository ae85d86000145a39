package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sys/unix"

	"scanrelay/build/rig"
)

// limitFiles has a process open no file or connection above the given number.
func limitFiles(t *testing.T, pid int, most uint64) {
	t.Helper()
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: 4096}, nil); err != nil {
		t.Fatal(err)
	}
}

// starvedScans are more than a segment of a small store holds.
const starvedScans = 3000

// starved is an agent that can open no further file, which it has said, with scans on
// their way to it.
func starved(t *testing.T, reconnects bool) (*rig.Site, []mqtt.Token) {
	t.Helper()
	site := rig.NewSite(t, rig.Options{Binary: plainBinary, Embedded: true, Agent: "store: {max_size: 8MiB}\n"})
	site.StartAgent()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + site.Broker).SetClientID("line").SetAutoReconnect(reconnects))
	if token := c.Connect(); !token.WaitTimeout(rig.Limit) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	limitFiles(t, site.Agent.PID(), 0)
	tokens := make([]mqtt.Token, 0, starvedScans)
	for i := range starvedScans {
		body := fmt.Sprintf(`{"waybill_id":"YT%013d","action_type":200001,"action_msg":"%s"}`, i, strings.Repeat("x", 300))
		tokens = append(tokens, c.Publish("scans/g", 1, false, body))
	}
	rig.Await(t, "the agent says that it waits", func() (bool, string) {
		log := site.Agent.Log()
		return strings.Contains(log, "no further file can be opened"), log[max(0, len(log)-300):]
	})
	return site, tokens
}

// TestNoDescriptors: an agent that can open no further file, in the middle of the work,
// waits for one, says so, and goes on where it was.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	site, tokens := starved(t, true)
	time.Sleep(100 * time.Millisecond) // it does not matter for how long
	limitFiles(t, site.Agent.PID(), 4096)
	for _, token := range tokens {
		if !token.WaitTimeout(rig.Limit) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	st := site.AwaitStatus("all stored", func(st rig.Status) bool { return st.Intake.Received == starvedScans })
	if st.Store.Full {
		t.Errorf("%+v", st.Store)
	}
}

// TestAStopWithoutDescriptors: a stop ends while a file of the store waits for one, and
// what was acknowledged is there after it. A command says why it cannot look.
func TestAStopWithoutDescriptors(t *testing.T) {
	t.Parallel()
	site, tokens := starved(t, false)
	site.Agent.Signal(unix.SIGTERM)
	if code := site.Agent.ExitCode(); code != 1 {
		t.Errorf("exit code %d of a stop that was cut short", code)
	}
	acked := uint64(0)
	for _, token := range tokens {
		if token.WaitTimeout(0) && token.Error() == nil {
			acked++
		}
	}
	site.StartAgent()
	st := site.AwaitStatus("the start", func(rig.Status) bool { return true })
	if acked == 0 || st.Intake.Received < acked {
		t.Errorf("%d were acknowledged, %d are there", acked, st.Intake.Received)
	}
	site.Agent.Stop()
	few := exec.Command("sh", "-c", `ulimit -n 9 && exec "$0" store check -c "$1"`, plainBinary, site.AgentFile)
	if out, err := few.CombinedOutput(); err == nil || !strings.Contains(string(out), "too many open files") {
		t.Errorf("store check with few descriptors: %v\n%s", err, out)
	}
}

// TestRootsAreReadAtTheStart: crypto/x509 reads the machine's certificates once, whatever
// comes of it. That is done while descriptors are there, and not by the first https call.
func TestRootsAreReadAtTheStart(t *testing.T) {
	t.Parallel()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := unix.Mkfifo(roots, 0o600); err != nil {
		t.Fatal(err)
	}
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Env: []string{"SSL_CERT_FILE=" + roots}})
	site.Agent.Start() // which calls nobody by https
	rig.Await(t, "somebody reads the roots", func() (bool, string) {
		w, err := os.OpenFile(roots, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return false, err.Error()
		}
		return w.Close() == nil, ""
	})
	site.AwaitStatus("the agent runs", func(rig.Status) bool { return true })
}
