package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/build/rig"
)

// The binary under test, built once per run: as depots get it, and with the
// race detector.
var plainBinary, raceBinary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scanrelay-e2e-")
	if err == nil {
		defer os.RemoveAll(dir) // the system clears what is left
		plainBinary, raceBinary, err = buildBoth(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func buildBoth(dir string) (plain, race string, err error) {
	plain, err1 := rig.Build(dir, "")
	race, err2 := rig.Build(dir, "race")
	return plain, race, errors.Join(err1, err2)
}

// newSite makes a site whose processes end at the first data race, so that no
// test passes over it, and whose store takes no more disk than a test needs.
func newSite(t *testing.T, o rig.Options) *rig.Site {
	t.Helper()
	o.Env = append(o.Env, "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	o.Agent += "store: {max_size: 256MiB}\n"
	return rig.NewSite(t, o)
}

// background publishes while the test does something else; the returned wait
// fails the test if not everything was acknowledged in time.
func background(t *testing.T, s *rig.Scanner, scans []rig.Scan) (wait func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Limit)
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- s.Publish(ctx, scans) }()
	published := sync.OnceValue(func() error { return <-done })
	return func() {
		t.Helper()
		if err := published(); err != nil {
			t.Fatal(err) // not within Once, which would end the other tests as well
		}
	}
}

// publish returns when all scans were acknowledged.
func publish(t *testing.T, s *rig.Scanner, scans []rig.Scan) {
	t.Helper()
	background(t, s, scans)()
}

// awaitAcked waits until at least n scans were acknowledged in all.
func awaitAcked(t *testing.T, site *rig.Site, n int) {
	t.Helper()
	rig.Await(t, fmt.Sprintf("%d acknowledgements", n), func() (bool, string) {
		have := site.Ledger.Len()
		return have >= n, fmt.Sprintf("%d so far", have)
	})
}

// connect connects a device that publishes what the test says: at return it was
// acknowledged.
func connect(t *testing.T, site *rig.Site, id string) (publish func(topic string, payload any)) {
	t.Helper()
	wait := func(token mqtt.Token) {
		t.Helper()
		if !token.WaitTimeout(rig.Limit) || token.Error() != nil {
			t.Fatal("no answer of the broker", token.Error())
		}
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + site.Broker).SetClientID(id))
	wait(client.Connect())
	t.Cleanup(func() { client.Disconnect(100) })
	return func(topic string, payload any) {
		t.Helper()
		wait(client.Publish(topic, 1, false, payload))
	}
}
