package presence_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/presence"
)

// TestWatch: who falls silent is named once, who was never heard of is not.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := presence.New([]scan.DepotID{"a", "never"}, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Watch(ctx, slog.New(slog.NewTextHandler(&log, nil))) }()
		for range 3 {
			if err := p.Heard(ctx, "a", strings.Repeat("v", 50), "e"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
		}
		m, err := p.Members(ctx)
		if err != nil || m["a"].Away || !m["never"].Away || len(m["a"].Version) != 40 {
			t.Errorf("members %+v, %v", m, err)
		}
		time.Sleep(time.Hour)
		cancel()
		<-done
		if n := strings.Count(log.String(), "fallen silent"); n != 1 || !strings.Contains(log.String(), "depot=a") {
			t.Errorf("named %d times: %s", n, log.String())
		}
	})
}
