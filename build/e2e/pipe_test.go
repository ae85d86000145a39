package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/build/rig"
)

// TestNobodyReadsWhatACommandPrints: a command whose reader has gone, as head goes, ends
// as cat does, by SIGPIPE and without a word; the agent that it asked goes on.
func TestNobodyReadsWhatACommandPrints(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(12, "pipe"), "YT", 20)
	publish(t, site.Scanner("line-1"), rig.Scans(parcels, 2, "line-1"))
	device := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + site.Broker).SetClientID("line-2"))
	if token := device.Connect(); !token.WaitTimeout(rig.Limit) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer device.Disconnect(0)
	saved := t.TempDir()
	for _, args := range []string{
		"status", "status --watch", "status --json", "events", "events --json", "trace " + parcels[0].ID, "check", "check --help-fields",
		"quarantine replay", "deadletter retry --all", "doctor", "bundle --to -", "listen --save " + saved,
	} {
		r, w, err := os.Pipe()
		if err == nil {
			err = r.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		c := exec.CommandContext(t.Context(), plainBinary, append(strings.Fields(args), "-c", site.AgentFile)...)
		c.Stdout, c.Stderr = w, &said
		if err := errors.Join(c.Start(), w.Close()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		for len(ended) == 0 { // listen has nothing to say before something comes
			if token := device.Publish("scans/line-2", 1, false, "no scan"); !token.WaitTimeout(rig.Limit) || token.Error() != nil {
				t.Fatal(token.Error())
			}
			time.Sleep(20 * time.Millisecond)
		}
		var exit *exec.ExitError
		if err := <-ended; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
			t.Errorf("%s: %v", args, err)
		}
		if said := said.String(); said != "" && !strings.HasPrefix(args, "listen") {
			t.Errorf("%s said %s", args, said)
		}
	}
	site.AwaitStatus("the agent goes on", func(rig.Status) bool { return true })
}
