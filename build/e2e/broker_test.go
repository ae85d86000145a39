package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestBrokerRestarts ends the broker again and again while devices publish to it:
// cleanly, so that it saves what it acknowledged, and hung for a while. The agent
// finds back by itself, and nothing that a device was told of is missing.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary})
	site.Start()
	parcels := rig.Traffic(rig.Chance(7, "broker"), "YT", 200)
	site.Import(parcels)
	scanner := site.Scanner("belt")
	scanner.Rate = 300
	wait := background(t, scanner, rig.Scans(parcels, 4, "belt"))
	for i := range 3 {
		awaitAcked(t, site, 50+100*i)
		if i == 1 {
			site.Mosquitto.Signal(syscall.SIGSTOP)
			site.Mosquitto.Signal(syscall.SIGCONT)
		}
		site.Mosquitto.Stop()
		site.Mosquitto.Start()
	}
	wait()
	site.Drain()
	site.Audit(rig.Allow{})
	if n := scanner.Reconnects(); n < 3 {
		t.Errorf("the device was disconnected %d times, want 3", n)
	}
}

// TestRetained: what a broker keeps comes at every start of the agent. It is stored
// once where it has an id or a time, and ignored where it has neither.
func TestRetained(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary})
	site.Mosquitto.Start()
	for topic, payload := range map[string]string{
		"timed": `{"waybill_id":"YT0000001","action_type":200001,"action_msg":"x","action_time":` + strconv.FormatInt(time.Now().Unix(), 10) + `}`,
		"named": `{"waybill_id":"YT0000002","action_type":200001,"action_msg":"x","event_id":"e"}`,
		"bare":  `{"waybill_id":"YT0000003","action_type":200001,"action_msg":"x"}`,
	} {
		retain(t, site.Broker, "scans/"+topic, []byte(payload))
	}
	site.StartCentral()
	for i := range uint64(3) {
		site.StartAgent()
		site.AwaitStatus("what is kept", func(st rig.Status) bool {
			return st.Intake.Received == 2 && st.Intake.Duplicate >= 2*i && st.Intake.Ignored >= i+1
		})
		site.Agent.Stop()
	}
}

// TestLargeMessage: a device publishes 60 MB to a broker without a size limit. The
// agent does not hold it, shows it, and goes on.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary})
	site.Start()
	retain(t, site.Broker, "scans/large", bytes.Repeat([]byte("x"), 60_000_000))
	mosquittoPub(t, site.Broker, "1", []byte(`{"waybill_id":"YT0000001","action_type":200001,"action_msg":"x"}`))
	site.AwaitStatus("both taken", func(st rig.Status) bool {
		return st.Intake.Received == 1 && st.Intake.Rejected == 1
	})
	lines := site.Events("--state", "rejected")
	if len(lines) != 1 || !strings.HasPrefix(lines[0].LastError, "57.2 MiB, more than 1.0 MiB") || lines[0].Topic != "scans/large" {
		t.Errorf("quarantine holds %+v", lines)
	}
	if peak := peakMemory(t, site.Agent.PID()); peak > 60<<20 {
		t.Errorf("the agent took %d MiB", peak>>20)
	}
}

// retain publishes a message that the broker is to keep.
func retain(t *testing.T, addr, topic string, payload []byte) {
	t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.CommandContext(t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-q", "1", "-r", "-t", topic, "-s")
	cmd.Stdin = bytes.NewReader(payload)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s*([0-9]+) kB`)

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	m := highWater.FindSubmatch(text)
	if m == nil {
		t.Fatal("no VmHWM")
	}
	kib, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// TestARestartBesideABusyBroker stops the agent as soon as it has stored what four
// devices published at full speed, and starts it at once: the broker was told of all
// of it, and nothing is stored twice. How much comes again depends on whether a slow
// machine's broker reads everything within the stop's share.
func TestARestartBesideABusyBroker(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary})
	site.Mosquitto.Start()
	site.StartAgent()
	const devices, each = 4, 5000
	for i := range devices {
		name := "line-" + strconv.Itoa(i)
		scanner := site.Scanner(name)
		scanner.Window = 500
		parcels := rig.Traffic(rig.Chance(uint64(20+i), name), "YT"+strconv.Itoa(i), each/4)
		wait := background(t, scanner, rig.Scans(parcels, 4, name))
		t.Cleanup(wait)
	}
	before := site.AwaitStatus("all stored", func(st rig.Status) bool { return st.Intake.Received >= devices*each })
	site.Agent.Stop()
	site.StartAgent()
	mosquittoPub(t, site.Broker, "1", []byte(`{"waybill_id":"YT99999999","action_type":200001,"action_msg":"x"}`)) // behind all else
	after := site.AwaitStatus("the last", func(st rig.Status) bool { return st.Intake.Received > devices*each })
	t.Logf("%d came again after the restart, %d before", after.Intake.Duplicate-before.Intake.Duplicate, before.Intake.Duplicate)
	if after.Intake.Received != devices*each+1 {
		t.Errorf("%d stored of %d", after.Intake.Received, devices*each+1)
	}
}
