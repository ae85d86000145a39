package probe

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/source"
)

// Listening beside the agent takes nothing away from it, also where the agent
// shares a subscription.
func TestListenBesideASource(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	m := intaketest.Mapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "$share/depot/scans/#", QoS: 1}}})
	s, err := source.New(source.Config{Config: link.Config{Brokers: []string{mq.Addr()}, ClientID: "agent"}}, intake.New(m, j, 0))
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(running) }()
	defer func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var topics []string
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Listen(ctx, link.Config{Brokers: []string{"tcp://127.0.0.1:1", mq.Addr()}, ClientID: "listener"}, []string{"$share/depot/scans/#"},
			func(string) { close(ready) }, func(m intake.Message) error {
				mu.Lock()
				defer mu.Unlock()
				topics = append(topics, m.Topic)
				return nil
			})
	}()
	<-ready
	for i := range 5 {
		mq.Pub("-t", "scans/x", "-q", "1", "-m", intaketest.Payload(fmt.Sprintf("YT0000000%d", i)))
	}
	intaketest.Eventually(t, "both have all", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(topics) == 5 && len(j.Waybills()) == 5
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
