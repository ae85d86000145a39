package intake

import (
	"fmt"
	"testing"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

// What a broker keeps and nobody understands is in quarantine once, however often
// the connection is renewed; it is counted each time.
func TestSourceRejectsWhatIsRetainedOnce(t *testing.T) {
	mq := startMosquitto(t)
	mq.pub("-t", "scans/g", "-q", "1", "-r", "-m", "nonsense")
	j := newFakeJournal(t, 0)
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, mapping.Config{}), j)
	counted := func(rejects, ignored int) func() bool {
		return func() bool {
			_, r, i := j.totals()
			return r == rejects && i == ignored
		}
	}
	eventually(t, "rejected", counted(1, 0))
	for i := range 2 {
		mq.stop()
		eventually(t, "noticed", func() bool { return !s.Connected() })
		mq.restart()
		eventually(t, "ignored", counted(1, i+1))
	}
}

func TestKept(t *testing.T) {
	var k kept
	take := func(payload string, retained bool) bool {
		b := scan.Batch{Rejects: make([]scan.Reject, 2), Ignored: 1}
		k.add(k.take(Heard{Topic: "t", Payload: []byte(payload), Retained: retained}, &b))
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
	for i := range 3 * maxKept {
		take(fmt.Sprint(i), true)
	}
	if len(k.seen) > maxKept {
		t.Errorf("%d are known", len(k.seen))
	}
	failed := scan.Batch{Rejects: make([]scan.Reject, 1)}
	h := Heard{Topic: "t", Payload: []byte("failed"), Retained: true}
	for range 2 {
		if k.take(h, &failed) == nil || len(failed.Rejects) != 1 {
			t.Error("what was not committed is known")
		}
	}
}
