package source

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
)

// A device publishes all the while; the mapping changes under it several times.
// Nothing that was acknowledged to it is missing, and what is no source's any
// more is not subscribed to any more.
func TestSourceUpdateLosesNothing(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, time.Millisecond)
	two := []mapping.Source{{Topic: "scans/#", QoS: 1}, {Topic: "line/+/reads", QoS: 1}}
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{Sources: two[:1]}), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	c := intaketest.Connect(t, mq.Addr(), "device")
	const n = 400
	var want []string
	for i := range n {
		if i%50 == 25 {
			s.pipe.Update(intaketest.Rules(t, mapping.Config{Sources: two[:1+i/50%2], DepotName: fmt.Sprint(i)}), 0)
		}
		number := fmt.Sprintf("YT%08d", i)
		want = append(want, number)
		if token := c.Publish("scans/gate", 1, false, intaketest.Payload(number)); !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	intaketest.Eventually(t, "all of them", func() bool { return len(j.Waybills()) >= n })
	if got := j.Waybills(); !slices.Equal(got, want) {
		t.Errorf("%d stored, want %d in order", len(got), n)
	}
	if st := s.Status(); st.Sessions != 1 {
		t.Errorf("%d sessions: the connection was not kept", st.Sessions)
	}

	s.pipe.Update(intaketest.Rules(t, mapping.Config{Sources: two}), 0)
	intaketest.Eventually(t, "subscribed to the new filter", func() bool {
		mq.Pub("-t", "line/3/reads", "-q", "1", "-m", intaketest.Payload("YT99999999"))
		return slices.Contains(j.Waybills(), "YT99999999")
	})
	s.pipe.Update(intaketest.Rules(t, mapping.Config{Sources: two[1:]}), 0)
	intaketest.Eventually(t, "the old filter given up", func() bool {
		_, _, before := j.Totals()
		mq.Pub("-t", "scans/gate", "-q", "1", "-m", intaketest.Payload("YT88888888"))
		mq.Pub("-t", "line/3/reads", "-q", "1", "-m", intaketest.Payload("YT77777777"))
		time.Sleep(50 * time.Millisecond)
		_, _, after := j.Totals()
		return after == before
	})
}

func TestSourceAsksForARebirth(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, intaketest.Sparkplug), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	intaketest.TestRebirth(t, mq.Addr(), j)
}
