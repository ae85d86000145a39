package intake

import (
	"context"
	"testing"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
)

// Who listens slowly delays nobody and hears how much it missed.
func TestListenersMissInsteadOfWaiting(t *testing.T) {
	var l listeners
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var missed []uint64
	begin, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- l.listen(ctx, func(m Message) error {
			<-begin
			missed = append(missed, m.Missed)
			if m.Missed > 0 {
				cancel()
			}
			return nil
		})
	}()
	intaketest.Eventually(t, "listening", l.any.Load)
	l.tell(Message{Topic: "t"})
	intaketest.Eventually(t, "one is being taken", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for one := range l.open {
			return len(one.messages) == 0
		}
		return false
	})
	for range 64 + 7 {
		l.tell(Message{Topic: "t"})
	}
	close(begin)
	go func() {
		for ctx.Err() == nil {
			time.Sleep(time.Millisecond)
			l.tell(Message{Topic: "t"})
		}
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if last := missed[len(missed)-1]; last < 7 {
		t.Errorf("missed %d", last)
	}
}
