package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
)

// persistent are the versions with the flags and properties of a session that stays.
var persistent = []struct {
	version byte
	props   []byte
}{{3, nil}, {4, nil}, {5, lasting}}

// A device that reboots between PUBREC and PUBREL and counts its packet ids anew
// sends another scan under the same id: it is stored, and so is one with QoS 1.
func TestAReusedPacketIDIsANewScan(t *testing.T) {
	for _, p := range persistent {
		t.Run(fmt.Sprint("version ", p.version), func(t *testing.T) {
			j := intaketest.NewOutbox(t, 0)
			_, addr := startBroker(t, Config{}, j)
			d := online(t, addr, p.version, 0, "gun", p.props...)
			d.publish(2, 1, intaketest.Payload("YT00000001"))
			d.expect("PUBREC", 0x50, 0, 1)
			_ = d.Close()
			d = online(t, addr, p.version, 0, "gun", p.props...)
			d.publish(2, 1, intaketest.Payload("YT00000002"))
			d.expect("PUBREC", 0x50, 0, 1)
			d.publish(1, 1, intaketest.Payload("YT00000003"))
			d.expect("PUBACK", 0x40, 0, 1)
			d.publish(2, 1, intaketest.Payload("YT00000004"))
			d.expect("PUBREC", 0x50, 0, 1)
			d.send(0x62, uint16(1))
			if got := d.expect("PUBCOMP", 0x70, 0, 1); len(got) > 2 {
				t.Errorf("PUBCOMP says %#x", got[2])
			}
			if got := j.Waybills(); !slices.Equal(got, []string{"YT00000001", "YT00000002", "YT00000003", "YT00000004"}) {
				t.Errorf("stored %v", got)
			}
		})
	}
}

// A QoS 2 publish that comes again is answered with success and not stored again,
// on the same connection and on the next.
func TestAResentQoS2IsAcknowledged(t *testing.T) {
	for _, p := range persistent {
		t.Run(fmt.Sprint("version ", p.version), func(t *testing.T) {
			j := intaketest.NewOutbox(t, 0)
			_, addr := startBroker(t, Config{}, j)
			d := online(t, addr, p.version, 0, "gun", p.props...)
			for i := range 3 {
				if i == 2 {
					_ = d.Close()
					d = online(t, addr, p.version, 0, "gun", p.props...)
				}
				d.publish(2, 7, intaketest.Payload("YT00000001"))
				if got := d.expect("PUBREC", 0x50, 0, 7); len(got) > 2 {
					t.Errorf("PUBREC says %#x", got[2])
				}
			}
			for range 2 { // a PUBREL may come twice too
				d.send(0x62, uint16(7))
				d.expect("PUBCOMP", 0x70, 0, 7)
			}
			if got := j.Waybills(); len(got) != 1 {
				t.Errorf("stored %v", got)
			}
			d.publish(2, 7, intaketest.Payload("YT00000001")) // it was released: another read of the same code
			d.expect("PUBREC", 0x50, 0, 7)
			if got := j.Waybills(); len(got) != 2 {
				t.Errorf("stored %v", got)
			}
		})
	}
}

// PUBCOMP ends a publish for the device, so it never goes out before the commit.
func TestNoPubcompBeforeTheCommit(t *testing.T) {
	j := &intaketest.Manual{}
	_, addr := startBroker(t, Config{}, j)
	d := online(t, addr, 4, 0, "gun")
	d.publish(2, 7, intaketest.Payload("YT00000001"))
	d.send(0x62, uint16(7))
	if first, content := d.receive(); first != end {
		t.Errorf("answered %#x % x", first, content)
	}
	j.Commit(1, nil)
}

// While a commit lasts a publish that comes again waits for it, on whatever
// connection, and is told to the outbox as one that comes again.
func TestAResentQoS2WaitsForItsCommit(t *testing.T) {
	j := &intaketest.Manual{}
	b, addr := startBroker(t, Config{}, j)
	first := online(t, addr, 4, 0, "gun")
	first.publish(2, 7, intaketest.Payload("YT00000001"))
	first.publish(2, 7, intaketest.Payload("YT00000001"))
	intaketest.Eventually(t, "submitted", func() bool { return len(j.Taken()) == 1 })
	second := online(t, addr, 4, 0, "gun")
	second.publish(2, 7, intaketest.Payload("YT00000001"))
	intaketest.Eventually(t, "submitted again", func() bool { return len(j.Taken()) == 2 })
	if got := j.Taken(); got[0].Batch.Redelivered || !got[1].Batch.Redelivered {
		t.Error("it is not told apart")
	}
	j.Commit(2, nil)
	second.expect("PUBREC", 0x50, 0, 7)
	second.send(0x62, uint16(7))
	second.expect("PUBCOMP", 0x70, 0, 7)
	intaketest.Eventually(t, "nothing waits", func() bool { return b.Status().Waiting == 0 })
}

// However many QoS 2 publishes a device of MQTT 3 leaves open, it goes on.
func TestManyOpenQoS2(t *testing.T) {
	const n = maxOpen + 500
	j := intaketest.NewOutbox(t, time.Millisecond)
	b, addr := startBroker(t, Config{}, j)
	d := online(t, addr, 4, 0, "gun")
	go func() {
		for i := 1; i <= n; i++ {
			d.publish(2, uint16(i), intaketest.Payload(fmt.Sprintf("YT%08d", i)))
		}
	}()
	for i := 1; i <= n; i++ {
		d.expect("PUBREC", 0x50, byte(i>>8), byte(i))
	}
	if got := b.sessions.all.Load(); got != maxOpen {
		t.Errorf("%d are remembered", got)
	}
	for i := 1; i <= n; i++ {
		d.send(0x62, uint16(i))
		d.expect("PUBCOMP", 0x70, byte(i>>8), byte(i))
	}
	if got := b.sessions.all.Load(); got != 0 || len(j.Waybills()) != n {
		t.Errorf("%d are remembered, %d stored", got, len(j.Waybills()))
	}
}
