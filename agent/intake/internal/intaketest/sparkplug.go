package intaketest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/sparkplug"
)

// Sparkplug takes what an edge node says of the number that a scanner read.
var Sparkplug = mapping.Config{Sources: []mapping.Source{{
	Topic: "spBv1.0/+/+/+/#", QoS: 1, Decoder: "sparkplug",
	Fields: map[string]string{"waybill_id": "/metrics/Scan~1Code", "action_type": "=200001", "action_msg": "=x"},
}}}

func sparkplugPayload(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// edgeNode is an edge node that publishes a birth when it is told to.
type edgeNode struct {
	mqtt.Client
	told chan []byte
}

func newEdgeNode(t *testing.T, addr string) edgeNode {
	t.Helper()
	n := edgeNode{Connect(t, addr, "edge"), make(chan []byte, 8)}
	token := n.Subscribe("spBv1.0/express/NCMD/depot-571/#", 0, func(_ mqtt.Client, m mqtt.Message) {
		n.told <- append([]byte(m.Topic()+" "), m.Payload()...)
	})
	if !token.WaitTimeout(Patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	return n
}

func (n edgeNode) publish(t *testing.T, kind, file string) {
	t.Helper()
	token := n.Publish("spBv1.0/express/"+kind+"/depot-571/scanner-07", 0, false, sparkplugPayload(t, file))
	if !token.WaitTimeout(Patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
}

// TestRebirth holds that data that came before its birth makes the edge node hear
// one request to be born again, however much of it there was; then its data is
// understood.
func TestRebirth(t *testing.T, addr string, o *Outbox) {
	t.Helper()
	n := newEdgeNode(t, addr)
	for range 3 {
		n.publish(t, "DDATA", "sparkplug-ddata.bin")
	}
	select {
	case told := <-n.told:
		topic, body, _ := strings.Cut(string(told), " ")
		p, err := sparkplug.Parse([]byte(body), 1<<20)
		if topic != "spBv1.0/express/NCMD/depot-571" || err != nil || p.Metrics[0].Name != "Node Control/Rebirth" {
			t.Errorf("told %q, %v", told, err)
		}
	case <-time.After(Patience):
		t.Fatal("nobody asked for a rebirth")
	}
	n.publish(t, "DBIRTH", "sparkplug-dbirth.bin")
	n.publish(t, "DDATA", "sparkplug-ddata.bin")
	Eventually(t, "the scan", func() bool { return slices.Contains(o.Waybills(), "78636098066239") })
	if _, rejects, _ := o.Totals(); rejects != 3 {
		t.Errorf("%d rejected, want the 3 that came before the birth", rejects)
	}
	select {
	case told := <-n.told:
		t.Errorf("told %q twice", told)
	case <-time.After(100 * time.Millisecond):
	}
}
