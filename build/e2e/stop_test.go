package e2e

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestStop stops the agent three times by SIGTERM in the middle of the work: it
// ends with 0, and nothing is lost or pushed twice by it.
func TestStop(t *testing.T) {
	t.Parallel()
	for name, embedded := range map[string]bool{"mosquitto": false, "embedded": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := newSite(t, rig.Options{Binary: raceBinary, Embedded: embedded})
			site.Start()
			parcels := rig.Traffic(rig.Chance(9, name), "YT", 200)
			site.Import(parcels)
			scanner := site.Scanner("line-1")
			scanner.Rate = 200
			wait := background(t, scanner, rig.Scans(parcels, 4, "line-1"))
			for i := range 3 {
				awaitAcked(t, site, (i+1)*200)
				site.Agent.Stop()
				site.StartAgent()
			}
			wait()
			site.Drain()
			site.Audit(rig.Allow{})
		})
	}
}

// TestStopInVain stops the agent while central answers nobody, which must not hold
// the end up: it takes ten seconds at most, and not the 30 after which a sync is
// given up.
func TestStopInVain(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(10, "vain"), "YT", 50)
	site.Import(parcels)
	site.Central.Signal(syscall.SIGSTOP)
	publish(t, site.Scanner("line-1"), rig.Scans(parcels, 2, "line-1"))
	if took := site.Agent.Stop(); took > 25*time.Second {
		t.Errorf("the stop took %v", took)
	}
	site.Central.Signal(syscall.SIGCONT)
	site.StartAgent()
	site.Drain()
	site.Audit(rig.Allow{Lost: concurrency, Unreachable: true})
}

// TestRefusals starts what cannot run: exit code 1 and one line that says what
// is wrong and names it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	held := taken.Addr().String()
	missing := t.TempDir() + "/missing-token"
	unreadable := variant(t, site.AgentFile, "token: "+rig.DepotToken+"}", "token_file: "+missing+"}")
	fresh := []string{"SCANRELAY_HTTP_LISTEN=" + rig.FreeAddr(t), "SCANRELAY_MQTT_LISTEN=" + rig.FreeAddr(t)}
	for _, c := range []struct {
		name  string
		role  string
		file  string
		env   []string
		names string // what the line must name
	}{
		{"data folder held by another agent", "agent", site.AgentFile, fresh, site.AgentData},
		{"agent's page on a taken port", "agent", site.AgentFile, []string{"SCANRELAY_DATA_DIR=" + t.TempDir(), "SCANRELAY_HTTP_LISTEN=" + held, fresh[1]}, held},
		{"broker on a taken port", "agent", site.AgentFile, []string{"SCANRELAY_DATA_DIR=" + t.TempDir(), "SCANRELAY_MQTT_LISTEN=" + held, fresh[0]}, held},
		{"central on a taken port", "central", site.CentralFile, []string{"SCANRELAY_DATA_DIR=" + t.TempDir(), "SCANRELAY_LISTEN=" + held}, held},
		{"credential in a file that is missing", "agent", unreadable, nil, missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rig.NewRole(t, "refused", []string{plainBinary, c.role, "-c", c.file}, c.env...)
			r.Start()
			if code := r.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if said := spoken(r.Log()); len(said) != 1 || !strings.Contains(said[0], c.names) {
				t.Errorf("want one line that names %s, got:\n%s", c.names, strings.Join(said, "\n"))
			}
		})
	}
}

// variant writes a copy of a configuration in which the first from is to.
func variant(t *testing.T, file, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %q", file, from)
	}
	changed := t.TempDir() + "/variant.yaml"
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return changed
}

// spoken returns the lines of an output that are no log records.
func spoken(out string) (lines []string) {
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "{") {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestUsage asks for what is none: exit code 2; and for what is: 0.
func TestUsage(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	broken := t.TempDir() + "/broken.yaml"
	if err := os.WriteFile(broken, []byte("depot: {id: hz-01}\nnotfy: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, 0, ""},
		{[]string{"check", "-c", site.AgentFile}, 0, ""},
		{[]string{"check", "-c", site.CentralFile}, 0, ""},
		{[]string{"check", "-c", broken}, 1, "broken.yaml:2: notfy"},
		{[]string{"agent", "-c", broken}, 1, "notify"},
		{[]string{"agent", "--nonsense"}, 2, ""},
		{[]string{"nonsense"}, 2, ""},
		{[]string{"trace"}, 2, ""},
	} {
		out, stderr, code := site.Run(c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.says) {
			t.Errorf("scanrelay %s: exit code %d, want %d and %q; said %s%s",
				strings.Join(c.args, " "), code, c.code, c.says, out, stderr)
		}
	}
}
