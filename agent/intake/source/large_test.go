package source

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
)

// While a large message comes in over a slow line the broker cannot answer pings;
// the connection stays all the same, and the message is acknowledged.
func TestSourceStaysWhileALargeMessageComes(t *testing.T) {
	st := newStub(t)
	j := intaketest.NewOutbox(t, 0)
	s, _ := startSource(t, Config{Config: brokers(st.addr()), KeepAlive: time.Second, pings: 2 * time.Second}, intaketest.Mapper(t, mapping.Config{}), j)
	w, _ := st.accept(0)
	subscribed(w, 1)
	var packet bytes.Buffer
	if err := intaketest.PublishPacket("scans/g", 1, 7, false, strings.Repeat("x", 5<<20)).Write(&packet); err != nil {
		t.Fatal(err)
	}
	large := packet.Bytes()
	begin := time.Now()
	pings, acked := 0, false
	sent := 200_000
	if _, err := w.Write(large[:sent]); err != nil {
		t.Fatal(err)
	}
	// paho would have given up after two pings
	for time.Since(begin) < 5*time.Second || pings < 2 || !acked {
		if time.Since(begin) > intaketest.Patience {
			break
		}
		if _, err := w.Write(large[sent : sent+100]); err != nil {
			t.Fatalf("the connection ended after %s: %v; %+v", time.Since(begin), err, s.Status())
		}
		sent += 100
		switch p := w.Receive(50 * time.Millisecond).(type) {
		case *packets.PingreqPacket:
			pings++
		case *packets.PubackPacket:
			acked = acked || p.MessageID == 7
		}
	}
	if _, err := w.Write(large[sent:]); err != nil {
		t.Fatal(err)
	}
	w.Send(intaketest.PublishPacket("scans/g", 1, 8, false, intaketest.Payload("YT00000001")))
	for !slices.Contains(j.Waybills(), "YT00000001") {
		if p, ok := w.Receive(intaketest.Patience).(*packets.PubackPacket); ok && p.MessageID == 8 {
			break
		}
	}
	if events, rejects, _ := j.Totals(); events != 1 || rejects != 1 || pings < 2 || !acked || s.Status().Sessions != 1 {
		t.Errorf("%d events, %d rejects, %d pings, acknowledged %v, %+v", events, rejects, pings, acked, s.Status())
	}
}

// A mosquitto without a size limit hands on what is too large: it is never held
// whole, goes into the quarantine once, and does not keep the next from coming.
func TestSourceCutsLargeMessagesShort(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	m := intaketest.Mapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "scans/#", QoS: 2}}})
	s, stop := startSource(t, Config{Config: brokers(mq.Addr())}, m, j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	const large = 40 << 20
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), large), 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for qos := range 3 {
		mq.Pub("-t", fmt.Sprintf("scans/large/%d", qos), "-q", fmt.Sprint(qos), "-f", file)
	}
	mq.Pub("-t", "scans/g", "-q", "1", "-m", intaketest.Payload("YT00000001"))
	intaketest.Eventually(t, "all taken", func() bool {
		events, rejects, _ := j.Totals()
		return events == 1 && rejects == 3
	})
	runtime.ReadMemStats(&after)
	if held := after.TotalAlloc - before.TotalAlloc; held > large/4 {
		t.Errorf("%d bytes were allocated for messages of %d", held, large)
	}
	for _, b := range j.Stored() {
		for _, r := range b.Rejects {
			if r.Code != "too_large" || !strings.HasPrefix(r.Topic, "scans/large/") || !strings.HasPrefix(r.Reason, "40.0 MiB, more than 1.0 MiB: the first 64 KiB are kept") || len(r.Payload) != 64<<10 {
				t.Errorf("%s: %s: %s, %d bytes", r.Topic, r.Code, r.Reason, len(r.Payload))
			}
		}
	}
	stop()
	s, _ = startSource(t, Config{Config: brokers(mq.Addr())}, m, j)
	intaketest.Eventually(t, "connected again", func() bool { return s.Status().Connected })
	mq.Pub("-t", "scans/g", "-q", "1", "-m", intaketest.Payload("YT00000002"))
	intaketest.Eventually(t, "the next", func() bool { return slices.Contains(j.Waybills(), "YT00000002") })
	if _, rejects, _ := j.Totals(); rejects != 3 || s.Status().Redelivered != 0 {
		t.Errorf("%d rejected, %d came again", rejects, s.Status().Redelivered)
	}
}
