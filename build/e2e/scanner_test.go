package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestHostileScanner: one address opens a thousand sessions, leaves connections without
// a login, announces packets of 256 MB, sends what is no MQTT, and publishes without
// end. A device of another address comes in all the same and gets every
// acknowledgement, the agent keeps its memory, and the log does not grow with it.
func TestHostileScanner(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Env: []string{"SCANRELAY_LOG_LEVEL=info"}})
	site.StartAgent()
	over := make(chan struct{})
	var hostile sync.WaitGroup
	attack := func(times int, what func(conn net.Conn, i int)) {
		hostile.Go(func() {
			for i := range times {
				from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: rig.Limit}
				conn, err := from.Dial("tcp", site.Broker)
				if err != nil {
					continue
				}
				what(conn, i)
				hostile.Go(func() {
					<-over
					_ = conn.Close()
				})
			}
		})
	}
	login := func(id string) string {
		return string([]byte{0x10, byte(12 + len(id)), 0, 4}) + "MQTT" + string([]byte{4, 0, 0, 0, 0, byte(len(id))}) + id
	}
	attack(900, func(conn net.Conn, i int) { _, _ = io.WriteString(conn, login(fmt.Sprint("thief-", i))) })
	attack(50, func(net.Conn, int) {})
	attack(50, func(conn net.Conn, i int) {
		_, _ = io.WriteString(conn, login(fmt.Sprint("large-", i))+"\x32\xff\xff\xff\x7f"+strings.Repeat("x", 1000))
	})
	attack(20, func(conn net.Conn, _ int) { _, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n") })
	attack(2, func(conn net.Conn, i int) {
		_, _ = io.WriteString(conn, login(fmt.Sprint("mad-", i)))
		hostile.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		hostile.Go(func() {
			body := `{"waybill_id":"YT00000000","action_type":200001,"action_msg":"x","event_id":"mad"}`
			publish := string([]byte{0x32, byte(11 + len(body)), 0, 7}) + "scans/g" + "\x00\x01" + body
			for {
				if _, err := io.WriteString(conn, strings.Repeat(publish, 10)); err != nil {
					return
				}
			}
		})
	})
	t.Cleanup(func() {
		close(over)
		hostile.Wait()
	})
	site.AwaitStatus("the attack", func(st rig.Status) bool { return st.Intake.Duplicate > 1000 && st.MQTT.Refused > 100 })
	parcels := rig.Traffic(rig.Chance(12, "honest"), "YTH", 50)
	began := time.Now()
	publish(t, site.Scanner("honest"), rig.Scans(parcels, 4, "honest"))
	st := site.AwaitStatus("all stored", func(st rig.Status) bool { return st.Intake.Received == 1+200 })
	t.Logf("200 scans took %v beside it; %+v", time.Since(began), st.MQTT)
	if peak := peakMemory(t, site.Agent.PID()); peak > 100<<20 {
		t.Errorf("the agent took %d MiB", peak>>20)
	}
	if lines := strings.Count(site.Agent.Log(), "\n"); lines > 500 {
		t.Errorf("%d lines in the log", lines)
	}
}

// TestOneScannerLeavesRoom: a scanner sends waybill numbers that nobody knows, as fast
// as it can, into a small store. Another one at the same address gets all its scans
// acknowledged and pushed meanwhile, over a kill of the agent, too, and what waited for
// its data before is still there.
func TestOneScannerLeavesRoom(t *testing.T) {
	t.Parallel()
	site := rig.NewSite(t, rig.Options{
		Binary: plainBinary, Embedded: true, Notify: "concurrency: 64", Agent: "store: {max_size: 8MiB, retain: 1s}\n",
	})
	site.Start()
	early := rig.Traffic(rig.Chance(20, "early"), "YTE", 20)
	publish(t, site.Scanner("early"), rig.Scans(early, 1, "early"))
	ctx, stop := context.WithCancel(t.Context())
	var hog sync.WaitGroup
	t.Cleanup(func() {
		stop()
		hog.Wait()
	})
	hog.Go(func() {
		for i := 0; ctx.Err() == nil; {
			i = floodUnknown(ctx, site.Broker, i)
		}
	})
	done := func(st rig.Status) uint64 { return st.Finished() - st.Outcome["expired"] }
	parcels := rig.Traffic(rig.Chance(21, "honest"), "YTH", 100)
	site.Import(parcels)
	for round := range 2 {
		site.AwaitStatus("the flood", func(st rig.Status) bool { return st.Pending.AwaitingWaybill > 1000 })
		began := time.Now()
		publish(t, site.Scanner("honest"), rig.Scans(parcels, 1, fmt.Sprint("honest-", round)))
		st := site.AwaitStatus("all pushed", func(st rig.Status) bool {
			return done(st) >= uint64((round+1)*100)
		})
		t.Logf("took %v beside it; %+v", time.Since(began), st)
		if round == 0 {
			site.Agent.Kill()
			site.Agent.Start()
		}
	}
	stop()
	hog.Wait()
	site.Import(early)
	site.AwaitStatus("the early ones", func(st rig.Status) bool { return done(st) >= 220 })
}

// floodUnknown publishes scans of numbers that nobody knows, from the i-th on, until
// the connection or ctx ends, and returns which comes next.
func floodUnknown(ctx context.Context, broker string, i int) int {
	conn, err := net.DialTimeout("tcp", broker, time.Second)
	if err != nil {
		time.Sleep(10 * time.Millisecond) // the agent is down
		return i
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	_, _ = io.WriteString(conn, "\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03hog")
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	for {
		body := fmt.Sprintf(`{"waybill_id":"UNKNOWN%08d","action_type":200001,"action_msg":"%s","event_id":"e%d"}`, i, strings.Repeat("x", 200), i)
		n := 11 + len(body)
		publish := string([]byte{0x32, byte(n%128 | 128), byte(n / 128)}) + "\x00\x07scans/g" + string([]byte{byte(i%0xff00>>8) | 1, byte(i)}) + body
		if _, err := io.WriteString(conn, publish); err != nil {
			return i
		}
		i++
	}
}
