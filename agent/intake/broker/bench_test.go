package broker

import (
	"fmt"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/internal/intaketest"
)

// BenchmarkBrokerOneConnection publishes on one connection with a window of 200
// unacknowledged messages to an outbox whose commit takes 10 ms. The target is
// 5,000 events/s.
func BenchmarkBrokerOneConnection(b *testing.B) {
	j := intaketest.NewOutbox(b, 10*time.Millisecond)
	_, addr := startBroker(b, Config{}, j)
	c := intaketest.Connect(b, addr, "line-1")
	publish(b, c, b.N, 200)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// publish sends n scans of about 400 bytes with at most window unacknowledged.
func publish(b *testing.B, c mqtt.Client, n, window int) {
	tokens := make(chan mqtt.Token, window)
	done := make(chan error, 1)
	go func() {
		for token := range tokens {
			token.Wait()
			if err := token.Error(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	b.ResetTimer()
	for i := range n {
		tokens <- c.Publish("scans/line-1", 1, false, fmt.Sprintf(
			`{"waybill_id":"YT%013d","action_type":200001,"action_time":1795456463,"action_msg":"快件到达 【杭州转运中心】","device_id":"line-1","padding":"%0220d"}`, i, i))
	}
	close(tokens)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
}
