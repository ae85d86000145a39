package source

import (
	"fmt"
	"testing"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

// What a broker keeps and nobody understands is in quarantine once, however often
// the connection is renewed; it is counted each time.
func TestSourceRejectsWhatIsRetainedOnce(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	mq.Pub("-t", "scans/g", "-q", "1", "-r", "-m", "nonsense")
	j := intaketest.NewOutbox(t, 0)
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{}), j)
	counted := func(rejects, ignored int) func() bool {
		return func() bool {
			_, r, i := j.Totals()
			return r == rejects && i == ignored
		}
	}
	intaketest.Eventually(t, "rejected", counted(1, 0))
	for i := range 2 {
		mq.Stop()
		intaketest.Eventually(t, "noticed", func() bool { return !s.Status().Connected })
		mq.Restart()
		intaketest.Eventually(t, "ignored", counted(1, i+1))
	}
}

func TestRetainedIsRemembered(t *testing.T) {
	var r retained
	take := func(payload string, retained bool) bool {
		b := scan.Batch{Rejects: make([]scan.Reject, 2), Ignored: 1}
		r.add(r.take(intake.Message{Topic: "t", Payload: []byte(payload), Retained: retained}, &b))
		if n := len(b.Rejects) + b.Ignored; n != 3 {
			t.Errorf("%d are counted", n)
		}
		return len(b.Rejects) > 0
	}
	for range 2 {
		if !take("live", false) {
			t.Error("what is not retained is known")
		}
	}
	if !take("a", true) || take("a", true) || !take("b", true) {
		t.Error("what is retained is not known")
	}
	for i := range 3 * maxRetained {
		take(fmt.Sprint(i), true)
	}
	if len(r.seen) > maxRetained {
		t.Errorf("%d are known", len(r.seen))
	}
	failed := scan.Batch{Rejects: make([]scan.Reject, 1)}
	m := intake.Message{Topic: "t", Payload: []byte("failed"), Retained: true}
	for range 2 {
		if r.take(m, &failed) == nil || len(failed.Rejects) != 1 {
			t.Error("what was not committed is known")
		}
	}
}
